# SPDX-License-Identifier: Apache-2.0
protect_fuzz_target(shim_ttrpc SOURCES shim_ttrpc.c LIBS protect_shim SECONDS 5)
protect_fuzz_target(shim_spec SOURCES shim_spec.c LIBS protect_shim SECONDS 5)
