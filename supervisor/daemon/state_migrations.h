// SPDX-License-Identifier: Apache-2.0
/* What the state's file looks like, version by version (PRAGMA user_version). */
#pragma once

#define STATE_VERSION 10u

/* Each brings a file of the version that is its index to the next one, in one transaction. */
extern const char *const state_migrations[STATE_VERSION];
