// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/metrics_text.h"

static void put_value(FILE *out, const char *value)
{
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			fputc('\\', out);
		fputc(*value >= ' ' && *value <= '~' ? *value : '?', out);
	}
}

void metrics_family(FILE *out, const char *name, enum metrics_type type, const char *help)
{
	static const char *const types[] = {[METRICS_COUNTER] = "counter",
					    [METRICS_GAUGE] = "gauge",
					    [METRICS_HISTOGRAM] = "histogram"};

	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, types[type]);
}

void metrics_sample(FILE *out, const char *name, const struct metrics_label *labels, unsigned n,
		    double value)
{
	fputs(name, out);
	for (unsigned i = 0; i < n; i++) {
		fprintf(out, "%s%s=\"", i ? "," : "{", labels[i].name);
		put_value(out, labels[i].value);
		fputc('"', out);
	}
	/* Every whole number below 10^15 as it is. */
	fprintf(out, "%s %.15g\n", n ? "}" : "", value);
}
