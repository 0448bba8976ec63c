# SPDX-License-Identifier: Apache-2.0
if(TARGET xen_compat)
	protect_unit_test(xen_parsers SOURCES xen_parsers.c LIBS xen_compat)
endif()
