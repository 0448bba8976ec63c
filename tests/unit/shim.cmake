# SPDX-License-Identifier: Apache-2.0
protect_unit_test(shim_ttrpc SOURCES shim_ttrpc.c LIBS protect_shim)
protect_unit_test(shim_spec SOURCES shim_spec.c LIBS protect_shim)
protect_unit_test(shim_layer SOURCES shim_layer.c LIBS protect_shim PkgConfig::archive)
