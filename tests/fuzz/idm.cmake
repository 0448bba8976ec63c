# SPDX-License-Identifier: Apache-2.0
protect_fuzz_target(idm_session SOURCES idm_session.c LIBS idm)
protect_fuzz_target(idm_pair SOURCES idm_pair.c LIBS idm SECONDS 5)
protect_fuzz_target(idm_vchan SOURCES idm_vchan.c LIBS idm SECONDS 5)
