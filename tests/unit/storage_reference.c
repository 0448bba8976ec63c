// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/storage_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/storage/reference.h"
#include "supervisor/storage/registry.h"
#include "tests/unit/harness.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

UNIT_SUITE(storage_reference);

Test(storage_reference, short_and_full_forms)
{
	static const struct {
		const char *text, *host, *repository, *tag, *canonical;
		bool loopback;
	} cases[] = {
		{"busybox", "registry-1.docker.io", "library/busybox", "latest",
		 "docker.io/library/busybox:latest", false},
		{"a/b:1.2", "registry-1.docker.io", "a/b", "1.2", "docker.io/a/b:1.2", false},
		{"docker.io/busybox", "registry-1.docker.io", "library/busybox", "latest",
		 "docker.io/library/busybox:latest", false},
		{"ghcr.io/x/y-z__w/v.1:T_1", "ghcr.io", "x/y-z__w/v.1", "T_1",
		 "ghcr.io/x/y-z__w/v.1:T_1", false},
		{"localhost/k:default", "localhost", "k", "default", "localhost/k:default", true},
		{"localhost:5000/k", "localhost:5000", "k", "latest", "localhost:5000/k:latest",
		 true},
		{"127.1.2.3:80/k", "127.1.2.3:80", "k", "latest", "127.1.2.3:80/k:latest", true},
		{"[::1]:5000/k", "[::1]:5000", "k", "latest", "[::1]:5000/k:latest", true},
		{"10.0.0.1:5000/k", "10.0.0.1:5000", "k", "latest", "10.0.0.1:5000/k:latest",
		 false},
		{"r.io/k@sha256:" HEX, "r.io", "k", "", "r.io/k@sha256:" HEX, false},
		{"r.io/k:t@sha256:" HEX, "r.io", "k", "", "r.io/k@sha256:" HEX, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_NULL;
		struct reference reference;

		cr_assert_eq(reference_parse(cases[i].text, &reference, &err), 0, "%s", err.text);
		cr_expect_str_eq(reference.host, cases[i].host);
		cr_expect_str_eq(reference.repository, cases[i].repository);
		cr_expect_str_eq(reference.tag, cases[i].tag);
		cr_expect_str_eq(reference.canonical, cases[i].canonical);
		cr_expect_eq(reference.loopback, cases[i].loopback);
	}
}

Test(storage_reference, refuses)
{
	static const char *const texts[] = {
		"",
		"/",
		"a/",
		"/a",
		"a//b",
		"A",
		"a:",
		"a:-x",
		"a:.x",
		"a b",
		"a\nb",
		"a/../b",
		"..",
		"a@",
		"a@sha256:12",
		"a@md5:" HEX,
		"a@sha256:" HEX "0",
		"a@sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
		"r.io:0/a",
		"r.io:99999/a",
		"r.io:x/a",
		"-r.io/a",
		"r.io-/a",
		"user@r.io/a",
		"a..b",
		"a___b",
		"a-",
		"_a",
		"a._b",
		"[::1/a",
		"[zz]/a",
		"http://r.io/a",
		"r.io/a?b",
		"r.io/a#b",
		"r.io/%2e",
		"é",
	};
	char *long_name = malloc(2000);

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct error err = ERROR_NULL;
		struct reference reference;

		cr_expect_eq(reference_parse(texts[i], &reference, &err), -EINVAL, "'%s' was taken",
			     texts[i]);
		cr_expect_eq(err.code, -EINVAL);
	}
	memset(long_name, 'a', 1999);
	for (size_t len = 1999; len > 400; len--) {
		struct reference reference;

		long_name[len] = '\0';
		if (reference_parse(long_name, &reference, NULL) == 0)
			cr_expect_lt(strlen(reference.canonical), REFERENCE_MAX);
	}
	free(long_name);
}

Test(storage_reference, loopback_is_literal)
{
	static const char *const not_us[] = {"localhost.evil.org", "127.0.0.1.evil.org", "127.1",
					     "0x7f000001",	   "2130706433",	 "[::2]",
					     "[::ffff:127.0.0.1]", "128.0.0.1",		 ""};

	for (size_t i = 0; i < ARRAY_SIZE(not_us); i++)
		cr_expect_not(reference_host_is_loopback(not_us[i]), "%s", not_us[i]);
}

Test(storage_reference, urls)
{
	const struct http_plain none = {.loopback = false}, home = {.loopback = true},
				named = {.host = "r.lan:5000"};

	cr_expect(http_url_allowed("https://r.io/x", none));
	cr_expect(http_url_allowed("http://127.0.0.1:5000/x", home));
	cr_expect_not(http_url_allowed("http://127.0.0.1:5000/x", none),
		      "a foreign registry must not send us home");
	cr_expect_not(http_url_allowed("http://r.io/x", home));
	cr_expect_not(http_url_allowed("http://localhost:1@r.io/x", home));
	cr_expect_not(http_url_allowed("file:///etc/passwd", home));
	cr_expect_not(http_url_allowed("ftp://localhost/", home));
	cr_expect(http_url_allowed("http://R.lan:5000/x", named));
	cr_expect_not(http_url_allowed("http://r.lan/x", named), "another port");
	cr_expect_not(http_url_allowed("http://x@r.lan:5000/x", named));
	cr_expect_not(http_url_allowed("http://127.0.0.1/x", named));
}

Test(storage_reference, token_urls)
{
	char url[HTTP_URL_MAX];

	cr_assert_eq(registry_token_url("Bearer realm=\"https://a.io/token\",service=\"s "
					"1&x\",scope=\"repository:other:push\"",
					"a/b", url),
		     0);
	cr_expect_str_eq(url,
			 "https://a.io/token?scope=repository%3Aa%2Fb%3Apull&service=s%201%26x");
	cr_assert_eq(
		registry_token_url("Bearer service=\"s\", realm=\"https://a.io/t?x=1\"", "a", url),
		0);
	cr_expect_str_eq(url, "https://a.io/t?x=1&scope=repository%3Aa%3Apull&service=s");
	cr_expect_eq(registry_token_url("Bearer service=\"s\"", "a", url), -EPROTO);
	cr_expect_eq(registry_token_url("Bearer realm=\"https://a.io", "a", url), -EPROTO);
	cr_expect_eq(registry_token_url("Bearer realm=\"https://a.io/\r\nX: y\"", "a", url),
		     -EPROTO);
}
