# SPDX-License-Identifier: Apache-2.0
# Their driver is the one of the unit tests.
add_library(fuzz_virtio_driver STATIC ${CMAKE_SOURCE_DIR}/tests/unit/virtio_driver.c)
target_link_libraries(fuzz_virtio_driver PUBLIC virtio)
protect_fuzz_target(virtio_queue SOURCES virtio_queue.c LIBS virtio)
protect_fuzz_target(virtio_rng SOURCES virtio_rng.c LIBS fuzz_virtio_driver)
protect_fuzz_target(virtio_pci SOURCES virtio_pci.c LIBS fuzz_virtio_driver)
protect_fuzz_target(virtio_blk SOURCES virtio_blk.c LIBS fuzz_virtio_driver)
protect_fuzz_target(virtio_balloon SOURCES virtio_balloon.c LIBS fuzz_virtio_driver)
protect_fuzz_target(virtio_memdev SOURCES virtio_memdev.c LIBS fuzz_virtio_driver)
protect_fuzz_target(virtio_vsock SOURCES virtio_vsock.c LIBS fuzz_virtio_driver)
add_library(fuzz_virtio_net_wire STATIC ${CMAKE_SOURCE_DIR}/tests/unit/virtio_net_wire.c)
target_link_libraries(fuzz_virtio_net_wire PUBLIC fuzz_virtio_driver)
protect_fuzz_target(virtio_net SOURCES virtio_net.c LIBS fuzz_virtio_net_wire)
