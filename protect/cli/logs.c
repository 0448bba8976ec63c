// SPDX-License-Identifier: Apache-2.0
/* zone logs, workload logs, host hv-console. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "protect/cli/cli.h"
#include "protect/cli/connect.h"
#include "protect/cli/output.h"
#include "protect/cli/relay.h"
#include "protect/cli/shared.h"
#include "base/util.h"

/* "1h30m": how long that is, in seconds. */
static int duration(const char *text, uint64_t *seconds)
{
	static const struct {
		char unit;
		uint64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};

	*seconds = 0;
	while (*text) {
		char digits[16];
		size_t len = strspn(text, "0123456789"), u = 0;
		uint64_t n;

		while (u < ARRAY_SIZE(units) && units[u].unit != text[len])
			u++;
		if (!len || len >= sizeof(digits) || u == ARRAY_SIZE(units))
			return -EINVAL;
		memcpy(digits, text, len);
		digits[len] = '\0';
		if (args_number(digits, 0, UINT32_MAX, &n) < 0)
			return -EINVAL;
		*seconds += n * units[u].seconds;
		text += len + 1;
	}
	return 0;
}

int logs_since(const char *text, uint64_t now_ms, uint64_t *out)
{
	struct tm tm = {.tm_mday = 1};
	uint64_t seconds;
	const char *end;
	time_t when;

	if (*text && duration(text, &seconds) == 0) {
		*out = seconds < now_ms / 1000 ? now_ms - seconds * 1000 : 0;
		return 0;
	}
	end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (!end)
		end = strptime(text, "%Y-%m-%d", &tm);
	when = end && !*end ? timegm(&tm) : -1;
	if (when < 0)
		return -EINVAL;
	*out = (uint64_t)when * 1000;
	return 0;
}

static int take_options(const struct args *args, const struct logs_options *options,
			Protect__Control__Logs *logs)
{
	uint64_t lines;

	logs->follow = options->follow;
	logs->timestamps = options->timestamps;
	if (options->since &&
	    logs_since(options->since, (uint64_t)time(NULL) * 1000, &logs->since_unix_ms) < 0)
		return args_usage_error(args, "--since: '%s' is no time", options->since);
	if (!options->tail || strcmp(options->tail, "all") == 0)
		return CLI_OK;
	if (args_number(options->tail, 0, UINT32_MAX, &lines) < 0)
		return args_usage_error(args, "--tail: '%s' is no number of lines", options->tail);
	logs->set_tail = true;
	logs->tail_lines = (uint32_t)lines;
	return CLI_OK;
}

int logs_run(uint32_t method, const struct args *args, const struct logs_options *options,
	     bool split)
{
	_cleanup_(reply_deinit) struct reply reply = {0};
	_cleanup_(connection_freep) struct connection *connection = NULL;
	_cleanup_(relay_deinit) struct relay relay = {.signals = -1};
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;
	Protect__Control__Logs logs = PROTECT__CONTROL__LOGS__INIT;
	int status = take_options(args, options, &logs);

	if (status)
		return status;
	connection = connection_new();
	if (!connection || relay_init(&relay, connection, split ? RELAY_STDERR : 0) < 0)
		return CLI_ERROR;
	if (args->n_operands)
		logs.ref = args->operands[0];
	logs.stream = relay_stdio_number(&relay);
	logs.stderr_stream = relay_stderr_number(&relay);
	if (connection_start(connection, method, &logs.base, &reply, NULL) < 0)
		return CLI_ERROR;
	status = relay_run(&relay, &reply, true);
	if (status)
		return status;
	message = reply_unpack(&reply, &protect__control__empty__descriptor);
	return message ? CLI_OK : CLI_ERROR;
}
