# SPDX-License-Identifier: Apache-2.0
foreach(name idm_call idm_stream idm_hostile idm_pump)
	protect_unit_test(${name} SOURCES ${name}.c idm_pair.c LIBS idm)
endforeach()
protect_unit_test(idm_vchan SOURCES idm_vchan.c LIBS idm)
