# SPDX-License-Identifier: Apache-2.0
add_library(virtio_driver STATIC virtio_driver.c)
target_link_libraries(virtio_driver PUBLIC virtio)
protect_unit_test(virtio_pci SOURCES virtio_pci.c LIBS virtio_driver)
protect_unit_test(virtio_console SOURCES virtio_console.c LIBS virtio_driver)
protect_unit_test(virtio_rng SOURCES virtio_rng.c LIBS virtio_driver)
protect_unit_test(virtio_blk SOURCES virtio_blk.c LIBS virtio_driver)
protect_unit_test(virtio_vsock SOURCES virtio_vsock.c LIBS virtio_driver)
protect_unit_test(virtio_queue SOURCES virtio_queue.c LIBS virtio)
