# SPDX-License-Identifier: Apache-2.0
add_library(zone_fs_client STATIC zone_fs_client.c)
target_link_libraries(zone_fs_client PUBLIC zone_fs)
protect_unit_test(zone_fs SOURCES zone_fs.c LIBS zone_fs_client)
protect_unit_test(zone_fs_hostile SOURCES zone_fs_hostile.c LIBS zone_fs_client)
protect_unit_test(virtio_fs SOURCES virtio_fs.c LIBS virtio_driver zone_fs)
