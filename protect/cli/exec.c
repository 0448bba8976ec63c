// SPDX-License-Identifier: Apache-2.0
#include "protect/cli/exec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "protect/cli/output.h"

static int read_files(struct exec_process *process, const struct exec_options *options, size_t *n)
{
	*n = 0;
	process->files = calloc(options->env_files.n + 1, sizeof(*process->files));
	if (!process->files)
		return -ENOMEM;
	for (size_t i = 0; i < options->env_files.n; i++) {
		int r = env_file_read(options->env_files.items[i], &process->files[i]);

		process->n_files = i + 1;
		if (r < 0)
			return r;
		*n += process->files[i].n;
	}
	return 0;
}

static void add_env(struct exec_process *process, char *assignment)
{
	process->env[process->message.n_env++] = assignment;
}

/* The caller's TERM is what a terminal there has to know; files come later, then -e: the last one
 * wins. */
static int make_env(struct exec_process *process, const struct exec_options *options)
{
	const char *term = getenv("TERM");
	size_t n;
	int r = read_files(process, options, &n);

	if (r < 0)
		return r;
	process->env = calloc(options->env.n + n + 2, sizeof(*process->env));
	if (!process->env)
		return -ENOMEM;
	if (options->terminal &&
	    asprintf(&process->term, "TERM=%s", term && *term ? term : "linux") < 0)
		return -ENOMEM;
	if (process->term)
		add_env(process, process->term);
	for (size_t i = 0; i < process->n_files; i++)
		for (size_t k = 0; k < process->files[i].n; k++)
			add_env(process, process->files[i].items[k]);
	for (size_t i = 0; i < options->env.n; i++)
		add_env(process, options->env.items[i]);
	process->message.env = process->env;
	return 0;
}

int exec_process_init(struct exec_process *process, const struct args *args,
		      const struct exec_options *options, const struct relay *relay)
{
	int r;

	*process = (struct exec_process){.message = PROTECT__CONTROL__PROCESS__INIT,
					 .size = PROTECT__CONTROL__TERMINAL__INIT};
	r = make_env(process, options);

	if (r < 0) {
		if (r == -ENOMEM)
			output_error("out of memory");
		return r;
	}
	process->message.argv = args->tail;
	process->message.n_argv = args->n_tail;
	if (options->directory)
		process->message.working_directory = (char *)(uintptr_t)options->directory;
	if (options->user)
		process->message.user = (char *)(uintptr_t)options->user;
	if (options->terminal) {
		terminal_size(&process->size.rows, &process->size.columns);
		process->message.terminal = &process->size;
	}
	if (relay) {
		process->message.stdio_stream = relay_stdio_number(relay);
		process->message.stderr_stream = relay_stderr_number(relay);
	}
	return 0;
}

void exec_process_deinit(struct exec_process *process)
{
	for (size_t i = 0; i < process->n_files; i++)
		env_file_deinit(&process->files[i]);
	free(process->files);
	free(process->term);
	free(process->env);
	*process = (struct exec_process){.env = NULL};
}

unsigned exec_relay_flags(bool terminal)
{
	return RELAY_INPUT | RELAY_SIGNALS | (terminal ? RELAY_TERMINAL : RELAY_STDERR);
}

static int result_of(const struct reply *reply)
{
	Protect__Control__ExecResult *result = (Protect__Control__ExecResult *)reply_unpack(
		reply, &protect__control__exec_result__descriptor);
	int status = CLI_EXEC_FAILED;

	if (!result)
		return status;
	if (result->exit_code >= 0 && result->exit_code <= 255)
		status = result->exit_code;
	protect__control__exec_result__free_unpacked(result, NULL);
	return status;
}

/* Nobody hears of it again once it runs. */
static int run_detached(uint32_t method, const struct args *args,
			const struct exec_options *options)
{
	_cleanup_(exec_process_deinit) struct exec_process process = {0};
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;
	Protect__Control__Exec exec = PROTECT__CONTROL__EXEC__INIT;

	if (exec_process_init(&process, args, options, NULL) < 0)
		return CLI_EXEC_FAILED;
	exec.ref = args->operands[0];
	exec.process = &process.message;
	exec.detach = true;
	message = connection_ask(method, &exec.base, &protect__control__exec_result__descriptor);
	return message ? CLI_OK : CLI_EXEC_FAILED;
}

int exec_run(uint32_t method, const struct args *args, const struct exec_options *options)
{
	_cleanup_(reply_deinit) struct reply reply = {0};
	_cleanup_(connection_freep) struct connection *connection = NULL;
	_cleanup_(relay_deinit) struct relay relay = {.signals = -1};
	_cleanup_(exec_process_deinit) struct exec_process process = {0};
	Protect__Control__Exec exec = PROTECT__CONTROL__EXEC__INIT;
	int status;

	if (args_check_env(args, &options->env) < 0)
		return CLI_USAGE;
	if (options->detach)
		return run_detached(method, args, options);
	connection = connection_new();
	if (!connection ||
	    relay_init(&relay, connection, exec_relay_flags(options->terminal)) < 0 ||
	    exec_process_init(&process, args, options, &relay) < 0)
		return CLI_EXEC_FAILED;
	exec.ref = args->operands[0];
	exec.process = &process.message;
	if (connection_start(connection, method, &exec.base, &reply, &relay.request_id) < 0)
		return CLI_EXEC_FAILED;
	status = relay_run(&relay, &reply, true);
	return status ? status : result_of(&reply);
}
