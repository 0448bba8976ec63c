// SPDX-License-Identifier: Apache-2.0
/* protect completion: scripts for the shells, made from the tables of the commands. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "protect/cli/cli.h"
#include "protect/cli/output.h"

static void print_options(const struct command *command)
{
	for (size_t i = 0; i < command->n_options; i++)
		printf(" --%s", command->options[i].name);
	printf(" --help");
}

/* What names the operands of a group's commands. Those of a host's commands are zones. */
static const char *names_of(const char *group)
{
	static const struct {
		const char *group, *names;
	} table[] = {{"host", "zone"},	 {"zone", "zone"},     {"workload", "workload"},
		     {"image", "image"}, {"volume", "volume"}, {"network", "zone"}};

	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		if (strcmp(table[i].group, group) == 0)
			return table[i].names;
	return NULL;
}

static void print_command_case(const struct command_group *group, const struct command *command)
{
	const char *second = strchr(command->name, ' ');

	printf("\t'%s %s') words='", group->name, command->name);
	print_options(command);
	printf("'");
	if (second && strcmp(second, " destroy") == 0)
		printf("; names=reservation");
	else if (!second && command->operands_max && names_of(group->name) &&
		 strcmp(command->name, "launch") != 0 && strcmp(command->name, "create") != 0)
		printf("; names=%s", names_of(group->name));
	printf(" ;;\n");
}

/* The first words of names that have two come together in the tables. */
static bool is_repeated(const struct command_group *group, size_t k)
{
	size_t len = strcspn(group->commands[k].name, " ");

	return k && strncmp(group->commands[k].name, group->commands[k - 1].name, len + 1) == 0;
}

/* What follows the first word of a name that has two. */
static void print_second_words(const struct command_group *group, size_t k)
{
	size_t len = strcspn(group->commands[k].name, " ");

	if (!group->commands[k].name[len] || is_repeated(group, k))
		return;
	printf("\t'%s %.*s ') words='--help", group->name, (int)len, group->commands[k].name);
	for (; k < group->n_commands; k++)
		if (group->commands[k].name[strcspn(group->commands[k].name, " ")])
			printf(" %s", group->commands[k].name + len + 1);
	printf("' ;;\n");
}

static void print_cases(void)
{
	for (unsigned i = 0; cli_groups[i]; i++) {
		const struct command_group *group = cli_groups[i];

		printf("\t'%s ') words='--help", group->name);
		for (size_t k = 0; k < group->n_commands; k++)
			if (!is_repeated(group, k))
				printf(" %.*s", (int)strcspn(group->commands[k].name, " "),
				       group->commands[k].name);
		printf("' ;;\n");
		for (size_t k = 0; k < group->n_commands; k++) {
			print_second_words(group, k);
			print_command_case(group, &group->commands[k]);
		}
	}
}

static int bash_run(const struct args *args, void *values)
{
	(void)args;
	(void)values;
	printf("# bash completion of protect\n_protect() {\n"
	       "\tlocal word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} "
	       "words='' names='' command=''\n"
	       "\t[ \"$COMP_CWORD\" -lt 2 ] || command=${COMP_WORDS[1]}\" \"\n"
	       "\t[ \"$COMP_CWORD\" -lt 3 ] || command=$command${COMP_WORDS[2]}\n"
	       "\t[ \"$command\" != 'network reservation' ] || [ \"$COMP_CWORD\" -lt 3 ] || "
	       "command=$command\" \"\n"
	       "\t[ \"$command\" != 'network reservation ' ] || [ \"$COMP_CWORD\" -lt 4 ] || "
	       "command=$command${COMP_WORDS[3]}\n"
	       "\tcase $command in\n\t'') words='--help --version");
	for (unsigned i = 0; cli_groups[i]; i++)
		printf(" %s", cli_groups[i]->name);
	printf("' ;;\n");
	print_cases();
	printf("\tesac\n"
	       "\tcase $previous in\n"
	       "\t-o | --output) words='table json jsonl' names='' ;;\n"
	       "\t-z | --zone) words='' names=zone ;;\n"
	       "\t--reservation) words='' names=reservation ;;\n"
	       "\t--network-backend) words='default none external passthrough' names='' ;;\n"
	       "\tesac\n"
	       "\tcase $names in\n"
	       "\tzone | workload) words+=\" $(protect $names list 2>/dev/null | awk 'NR > 1 { "
	       "print $2 }')\" ;;\n"
	       "\treservation) words+=\" $(protect network reservation list -o json 2>/dev/null | "
	       "sed -n 's/.*\"name\": \"\\([^\"]*\\)\".*/\\1/p')\" ;;\n"
	       "\timage | volume) words+=\" $(protect $names list 2>/dev/null | awk 'NR > 1 { "
	       "print $1 }')\" "
	       ";;\n"
	       "\tesac\n"
	       "\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
	       "}\ncomplete -o default -F _protect protect\n");
	return output_flush();
}

/* zsh runs bash's by its own emulation. */
static int zsh_run(const struct args *args, void *values)
{
	puts("autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && "
	     "bashcompinit\nmapfile() { "
	     "COMPREPLY=(${(f)\"$(cat)\"}); }");
	return bash_run(args, values);
}

static const struct command commands[] = {
	{.name = "bash",
	 .usage = "",
	 .summary = "Print a completion script for bash.",
	 .details = "Example:\n  protect completion bash >/etc/bash_completion.d/protect\n",
	 .run = bash_run},
	{.name = "zsh",
	 .usage = "",
	 .summary = "Print a completion script for zsh.",
	 .details = "Example:\n  source <(protect completion zsh)\n",
	 .run = zsh_run},
};

const struct command_group completion_group = {"completion", "completion scripts for shells",
					       commands, ARRAY_SIZE(commands)};

const struct command_group *const cli_groups[] = {&host_group,	     &zone_group,   &workload_group,
						  &image_group,	     &volume_group, &network_group,
						  &completion_group, NULL};
