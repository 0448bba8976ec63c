// SPDX-License-Identifier: Apache-2.0
/*
 * Text in Prometheus' exposition format (0.0.4): families in turn, each with HELP and TYPE once and
 * its samples behind it. Values of labels are escaped, and what is no printable ASCII in them is
 * replaced, so that nothing a zone, an image or a user named can end a line or a label. Whoever
 * writes sees to it that no two samples of a family have the same labels.
 */
#pragma once

#include <stdio.h>

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

struct metrics_label {
	const char *name, *value;
};

/* Begins a family. Names of counters end in _total, those of what has a unit in the unit. */
void metrics_family(FILE *out, const char *name, enum metrics_type type, const char *help);

/* A sample of the family that was begun; name may have a suffix of it (_bucket, _sum, _count). n
 * labels, may be 0. */
void metrics_sample(FILE *out, const char *name, const struct metrics_label *labels, unsigned n,
		    double value);
