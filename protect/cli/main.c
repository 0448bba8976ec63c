// SPDX-License-Identifier: Apache-2.0
/* protect: the command line of Protect. Finds the command; each does the rest itself. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "protect/cli/cli.h"
#include "protect/cli/output.h"

static void print_help(void)
{
	puts("usage: protect GROUP COMMAND [OPTION...] [ARGUMENT...]\n\n"
	     "Zones are light virtual machines; workloads are OCI images that run in "
	     "them.\n\nGroups:");
	for (unsigned i = 0; cli_groups[i]; i++)
		printf("  %-12s %s\n", cli_groups[i]->name, cli_groups[i]->summary);
	puts("\nOptions:\n"
	     "  -h, --help   show this help; also behind a group or a command\n"
	     "  --version    show the version\n\n"
	     "Environment:\n"
	     "  PROTECT_SOCKET   the daemon's socket (default /run/protect/daemon.sock)\n\n"
	     "Examples:\n"
	     "  protect host check\n"
	     "  protect zone launch --name a --wait\n"
	     "  protect workload launch --zone a --attach oci:./image:latest\n"
	     "  protect zone exec a -- uname -r");
}

static void print_group_help(const struct command_group *group)
{
	printf("usage: protect %s COMMAND [OPTION...] [ARGUMENT...]\n\n%s\n\nCommands:\n",
	       group->name, group->summary);
	for (size_t i = 0; i < group->n_commands; i++)
		printf("  %-20s %s\n", group->commands[i].name, group->commands[i].summary);
	printf("\n'protect %s COMMAND --help' tells more.\n", group->name);
}

static bool is_help(const char *word)
{
	return strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "help") == 0;
}

static const struct command_group *find_group(const char *name)
{
	for (unsigned i = 0; cli_groups[i]; i++)
		if (strcmp(cli_groups[i]->name, name) == 0)
			return cli_groups[i];
	return NULL;
}

/* How many words of argv are the command's name; 0 if it is another. */
static int words_of(const struct command *command, int argc, char **argv)
{
	size_t len = strcspn(command->name, " ");

	if (strlen(argv[0]) != len || strncmp(command->name, argv[0], len) != 0)
		return 0;
	if (!command->name[len])
		return 1;
	return argc > 1 && strcmp(command->name + len + 1, argv[1]) == 0 ? 2 : 0;
}

/* Whether word is the first of two of a command's name. */
static bool is_first_word(const struct command_group *group, const char *word)
{
	for (size_t i = 0; i < group->n_commands; i++) {
		size_t len = strcspn(group->commands[i].name, " ");

		if (group->commands[i].name[len] && strlen(word) == len &&
		    strncmp(group->commands[i].name, word, len) == 0)
			return true;
	}
	return false;
}

static int run_group(const struct command_group *group, int argc, char **argv)
{
	if (argc < 2) {
		output_error("no command given; see 'protect %s --help'", group->name);
		return CLI_USAGE;
	}
	if (is_help(argv[1])) {
		print_group_help(group);
		return output_flush();
	}
	for (size_t i = 0; i < group->n_commands; i++) {
		int words = words_of(&group->commands[i], argc - 1, argv + 1);

		if (words)
			return args_run(group->name, &group->commands[i], argc - words,
					argv + words);
	}
	if (is_first_word(group, argv[1]) && argc > 2 && is_help(argv[2])) {
		print_group_help(group);
		return output_flush();
	}
	if (is_first_word(group, argv[1]))
		output_error("'%s %s' is not the whole of a command; see 'protect %s --help'",
			     group->name, argv[1], group->name);
	else
		output_error("unknown command '%s %s'; see 'protect %s --help'", group->name,
			     argv[1], group->name);
	return CLI_USAGE;
}

/* A standard stream that the caller closed must not become our socket. */
static void open_standard_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	const struct command_group *group;

	open_standard_streams();
	if (argc < 2) {
		output_error("no command given; see 'protect --help'");
		return CLI_USAGE;
	}
	if (is_help(argv[1])) {
		print_help();
		return output_flush();
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("protect " PROTECT_VERSION);
		return output_flush();
	}
	group = find_group(argv[1]);
	if (!group) {
		output_error("unknown command '%s'; see 'protect --help'", argv[1]);
		return CLI_USAGE;
	}
	return run_group(group, argc - 1, argv + 1);
}
