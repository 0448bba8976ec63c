# SPDX-License-Identifier: Apache-2.0
protect_unit_test(base_notify SOURCES base_notify.c LIBS base)
