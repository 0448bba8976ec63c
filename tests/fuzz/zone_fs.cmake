# SPDX-License-Identifier: Apache-2.0
protect_fuzz_target(zone_fs SOURCES zone_fs.c LIBS zone_fs)
protect_fuzz_target(virtio_fs SOURCES virtio_fs.c LIBS fuzz_virtio_driver)
