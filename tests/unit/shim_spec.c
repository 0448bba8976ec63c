// SPDX-License-Identifier: Apache-2.0
/* What a config.json becomes, and what is refused. */
#include "tests/unit/harness.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "protect/shim/spec.h"

UNIT_SUITE(shim_spec);

#define NAMESPACES                                                                                 \
	"\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"network\",\"path\":\"/" \
	"run/netns/x\"}]"
#define PROCESS                                                                                    \
	"\"process\":{\"args\":[\"sleep\",\"1\"],\"cwd\":\"/\",\"user\":{\"uid\":0,\"gid\":0}}"

static struct spec spec;
static struct error err;

static int parse(const char *text)
{
	err = (struct error)ERROR_NULL;
	return spec_parse(text, strlen(text), &spec, &err);
}

static void refused(const char *text, int code, const char *says)
{
	cr_assert_eq(parse(text), code, "%s", err.text);
	cr_assert(strstr(err.text, says) != NULL, "%s", err.text);
	spec_deinit(&spec);
}

Test(shim_spec, a_container_as_ctr_makes_it)
{
	cr_assert_eq(parse("{\"process\":{\"terminal\":true,\"consoleSize\":{\"height\":24,"
			   "\"width\":80},"
			   "\"user\":{\"uid\":1000,\"gid\":100},\"args\":[\"sh\",\"-c\",\"true\"],"
			   "\"env\":[\"A=b\"],\"cwd\":\"/w\","
			   "\"capabilities\":{\"bounding\":[\"CAP_CHOWN\",\"CAP_KILL\"],"
			   "\"permitted\":[\"CAP_KILL\"]},"
			   "\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"hard\":18446744073709551615,"
			   "\"soft\":1024}],"
			   "\"noNewPrivileges\":true,\"oomScoreAdj\":7},"
			   "\"root\":{\"path\":\"rootfs\",\"readonly\":true},\"hostname\":\"h\","
			   "\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\"},"
			   "{\"destination\":\"/"
			   "run\",\"type\":\"tmpfs\",\"options\":[\"nosuid\",\"size=64k\",\"mode="
			   "755\"]},"
			   "{\"destination\":\"/etc/hosts\",\"type\":\"bind\",\"source\":\"/tmp/"
			   "h\",\"options\":[\"rbind\",\"ro\"]}],"
			   "\"linux\":{\"maskedPaths\":[\"/proc/kcore\"],\"readonlyPaths\":[\"/"
			   "proc/sys\"],"
			   "\"sysctl\":{\"kernel.shmmax\":\"5\"},"
			   "\"resources\":{\"memory\":{\"limit\":268435456},\"cpu\":{\"quota\":"
			   "150000,\"period\":100000},"
			   "\"pids\":{\"limit\":9}}," NAMESPACES "}}"),
		     0, "%s", err.text);
	cr_assert_eq(spec.kind, SPEC_ALONE);
	cr_assert_eq(spec.process.n_argv, 3u);
	cr_assert_str_eq(spec.process.argv[2], "true");
	cr_assert_str_eq(spec.process.env[0], "A=b");
	cr_assert_str_eq(spec.process.working_directory, "/w");
	cr_assert_str_eq(spec.process.user, "1000:100");
	cr_assert_eq(spec.process.terminal->columns, 80u);
	cr_assert_eq(spec.settings.capabilities, UINT64_C(1) << 5);
	cr_assert_eq(spec.settings.ulimits[0]->resource, (uint32_t)RLIMIT_NOFILE);
	cr_assert_eq(spec.settings.ulimits[0]->soft, 1024u);
	cr_assert_eq(spec.settings.ulimits[0]->hard, UINT64_MAX);
	cr_assert(spec.settings.no_new_privileges && spec.settings.read_only &&
		  spec.settings.unmasked);
	cr_assert_eq(spec.settings.oom_score_adj, 7);
	cr_assert_str_eq(spec.settings.hostname, "h");
	cr_assert_eq(spec.settings.n_tmpfs, 1u);
	cr_assert_eq(spec.settings.tmpfs[0]->size_bytes, 65536u);
	cr_assert_eq(spec.settings.tmpfs[0]->mode, 0755u);
	cr_assert(!spec.settings.tmpfs[0]->suid && spec.settings.tmpfs[0]->exec);
	cr_assert_eq(spec.n_binds, 1u);
	cr_assert(spec.binds[0].read_only);
	cr_assert_str_eq(spec.settings.sysctls[0], "kernel.shmmax=5");
	cr_assert_eq(spec.settings.cpu_millis, 1500u);
	cr_assert_eq(spec.settings.pids, 9u);
	cr_assert_eq(spec.zone.max_memory_mib, 256u + 128u);
	cr_assert_eq(spec.zone.max_cpus, 2u);
	cr_assert_str_eq(spec.netns, "/run/netns/x");
	spec_deinit(&spec);
}

Test(shim_spec, a_pod_and_its_container)
{
	cr_assert_eq(parse("{" PROCESS
			   ",\"annotations\":{\"io.kubernetes.cri.container-type\":\"sandbox\","
			   "\"io.kubernetes.cri.sandbox-id\":\"p\",\"io.kubernetes.cri.sandbox-"
			   "memory\":\"104857600\","
			   "\"dev.protect/cpu\":\"3\",\"dev.edera/resource-policy\":\"dynamic\"},"
			   "\"linux\":{" NAMESPACES ",\"sysctl\":{\"net.core.somaxconn\":\"9\"}}}"),
		     0, "%s", err.text);
	cr_assert_eq(spec.kind, SPEC_SANDBOX);
	cr_assert_eq(spec.zone.max_memory_mib, 100u + 128u);
	cr_assert_eq(spec.zone.max_cpus, 3u);
	cr_assert_eq(spec.zone.policy, PROTECT__CONTROL__RESOURCE_POLICY__POLICY_DYNAMIC);
	cr_assert_eq(spec.settings.n_sysctls, 0u);
	spec_deinit(&spec);
	cr_assert_eq(parse("{" PROCESS
			   ",\"annotations\":{\"io.kubernetes.cri.container-type\":\"container\","
			   "\"io.kubernetes.cri.sandbox-id\":\"p\"},\"linux\":{" NAMESPACES "}}"),
		     0, "%s", err.text);
	cr_assert_eq(spec.kind, SPEC_MEMBER);
	cr_assert_str_eq(spec.sandbox, "p");
	cr_assert_eq(spec.zone.max_memory_mib, 0u);
	spec_deinit(&spec);
	refused("{" PROCESS ",\"annotations\":{\"io.kubernetes.cri.container-type\":\"container\","
		"\"io.kubernetes.cri.sandbox-id\":\"../p\"},\"linux\":{" NAMESPACES "}}",
		-EINVAL, "names no pod");
}

Test(shim_spec, what_no_zone_has_is_refused_by_its_name)
{
	refused("{" PROCESS ",\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"ipc\"}]}}",
		-ENOTSUP, "hostNetwork");
	refused("{" PROCESS
		",\"linux\":{\"namespaces\":[{\"type\":\"network\"},{\"type\":\"ipc\"}]}}",
		-ENOTSUP, "hostPID");
	refused("{" PROCESS
		",\"linux\":{\"namespaces\":[{\"type\":\"network\"},{\"type\":\"pid\"}]}}",
		-ENOTSUP, "hostIPC");
	refused("{" PROCESS ",\"linux\":{\"namespaces\":[{\"type\":\"user\"}]}}", -ENOTSUP,
		"hostUsers");
	refused("{" PROCESS
		",\"mounts\":[{\"destination\":\"/x\",\"type\":\"nfs\"}],\"linux\":{" NAMESPACES
		"}}",
		-ENOTSUP, "'nfs'");
	refused("{" PROCESS
		",\"annotations\":{\"dev.protect/virt-backend\":\"xen\"},\"linux\":{" NAMESPACES
		"}}",
		-ENOTSUP, "virt-backend");
	refused("{" PROCESS ",\"annotations\":{\"dev.protect/cpu\":\"-1\"},\"linux\":{" NAMESPACES
		"}}",
		-EINVAL, "dev.protect/cpu");
}

Test(shim_spec, what_is_no_configuration_is_refused)
{
	refused("", -EINVAL, "no JSON object");
	refused("[]", -EINVAL, "no JSON object");
	refused("{\"process\":1", -EINVAL, "no JSON object");
	refused("{}", -EINVAL, "no command");
	refused("{\"process\":{\"args\":[1]}}", -EINVAL, "no strings");
	refused("{\"process\":{\"args\":[\"a\"],\"rlimits\":[{\"type\":\"RLIMIT_X\"}]}}", -EINVAL,
		"RLIMIT_X");
}

static void refused_process(const char *member, const char *says)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "{\"process\":{\"args\":[\"a\"],%s},\"linux\":{" NAMESPACES "}}", member);
	refused(text, -EINVAL, says);
}

/* What is read as 0 is read as root. */
Test(shim_spec, who_it_runs_as_is_no_guess)
{
	static const char *const ids[] = {
		"4294967296", "4294967295", "-1",     "0.5",
		"\"1000\"",   "true",	    "[1000]", "18446744073709551616"};
	char member[64];

	for (unsigned i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		snprintf(member, sizeof(member), "\"user\":{\"uid\":%s}", ids[i]);
		refused_process(member, "'uid'");
		snprintf(member, sizeof(member), "\"user\":{\"gid\":%s}", ids[i]);
		refused_process(member, "'gid'");
	}
	cr_assert_eq(
		parse("{\"process\":{\"args\":[\"a\"],\"user\":{\"uid\":4294967294,\"gid\":null}},"
		      "\"linux\":{" NAMESPACES "}}"),
		0, "%s", err.text);
	cr_assert_str_eq(spec.process.user, "4294967294:0");
	spec_deinit(&spec);
}

/* A restriction that cannot be read is not left out. */
Test(shim_spec, restrictions_of_another_type_are_refused)
{
	refused_process("\"noNewPrivileges\":\"true\"", "'noNewPrivileges'");
	refused_process("\"rlimits\":{}", "'rlimits'");
	refused_process("\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"hard\":\"0\"}]", "'hard'");
	refused_process("\"oomScoreAdj\":4294966296", "'oomScoreAdj'");
	refused_process("\"capabilities\":{\"bounding\":\"CAP_KILL\"}", "'bounding'");
	refused("{" PROCESS ",\"root\":{\"readonly\":1},\"linux\":{" NAMESPACES "}}", -EINVAL,
		"'readonly'");
	refused("{" PROCESS ",\"linux\":{\"maskedPaths\":\"/proc/kcore\"," NAMESPACES "}}", -EINVAL,
		"'maskedPaths'");
	refused("{" PROCESS ",\"linux\":{\"resources\":{\"memory\":{\"limit\":\"1G\"}}," NAMESPACES
		"}}",
		-EINVAL, "'limit'");
}

Test(shim_spec, sizes_of_memory_and_time_do_not_wrap)
{
	static const char *const options[] = {
		"size=50%", "size=-1",	"size=17179869184g", "size=99999999999999999999",
		"size=",    "size=1kk", "mode=rwx",	     "mode="};
	char text[512];

	for (unsigned i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		snprintf(text, sizeof(text),
			 "{" PROCESS ",\"mounts\":[{\"destination\":\"/x\",\"type\":\"tmpfs\","
			 "\"options\":[\"%s\"]}],\"linux\":{" NAMESPACES "}}",
			 options[i]);
		refused(text, -EINVAL, options[i]);
	}
	/* A quota of 2^32 thousandths is no quota of none. */
	cr_assert_eq(parse("{" PROCESS
			   ",\"linux\":{\"resources\":{\"cpu\":{\"quota\":429496729600000,"
			   "\"period\":100000}}," NAMESPACES "}}"),
		     0, "%s", err.text);
	cr_assert_eq(spec.settings.cpu_millis, UINT32_MAX);
	spec_deinit(&spec);
	cr_assert_eq(parse("{" PROCESS ",\"linux\":{\"resources\":{\"cpu\":{\"quota\":1,"
			   "\"period\":100000}}," NAMESPACES "}}"),
		     0, "%s", err.text);
	cr_assert_eq(spec.settings.cpu_millis, 1);
	spec_deinit(&spec);
}

Test(shim_spec, an_update_is_limits_alone)
{
	static const char text[] = "{\"memory\":{\"limit\":1048576},\"cpu\":{\"quota\":50000,"
				   "\"period\":100000},\"pids\":{\"limit\":9}}";
	static const char odd[] = "{\"cpu\":{\"quota\":9000000000000000,\"period\":1},"
				  "\"memory\":{\"limit\":-1}}";

	cr_assert_eq(spec_parse_resources(text, sizeof(text) - 1, &spec, &err), 0, "%s", err.text);
	cr_assert_eq(spec.settings.memory_bytes, 1048576u);
	cr_assert_eq(spec.settings.cpu_millis, 500u);
	cr_assert_eq(spec.settings.pids, 9u);
	spec_deinit(&spec);
	cr_assert_eq(spec_parse_resources(odd, sizeof(odd) - 1, &spec, &err), 0, "%s", err.text);
	cr_assert_eq(spec.settings.memory_bytes, 0u);
	cr_assert_eq(spec.settings.cpu_millis, UINT32_MAX);
	spec_deinit(&spec);
	cr_assert_eq(spec_parse_resources("[]", 2, &spec, &err), -EINVAL);
	spec_deinit(&spec);
}
