# SPDX-License-Identifier: Apache-2.0
protect_unit_test(isolate_stages SOURCES isolate_stages.c LIBS base)
