# SPDX-License-Identifier: Apache-2.0
protect_unit_test(harness SOURCES harness.c LIBS base)
