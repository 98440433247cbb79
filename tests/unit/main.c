/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"

static struct CMUnitTest *tests;
static size_t n_tests, cap_tests;
static char scratch[4096];
static unsigned n_dirs;

void test_register(const char *name, void (*fn)(void **))
{
	VEC_GROW(tests, n_tests, cap_tests);
	tests[n_tests++] = (struct CMUnitTest){.name = name, .test_func = fn};
}

int test_dir(char *path, size_t size)
{
	char name[32];

	if (!*scratch) {
		const char *tmp = getenv("TMPDIR"); /* NOLINT(concurrency-mt-unsafe): nobody changes it */
		snprintf(scratch, sizeof(scratch), "%s/limpid-unit.XXXXXX", tmp ? tmp : "/tmp");
		if (!mkdtemp(scratch))
			abort();
	}
	snprintf(name, sizeof(name), "%u", n_dirs++);
	_cleanup_free_ char *full = xasprintf("%s/%s", scratch, name);
	int fd = fs_make_dir(AT_FDCWD, full, 0755, NULL);
	if (fd < 0)
		abort();
	if (path)
		snprintf(path, size, "%s", full);
	return fd;
}

const char *test_vectors(void)
{
	const char *dir = getenv("LIMPID_VECTORS"); /* NOLINT(concurrency-mt-unsafe): nobody changes it */

	return dir ? dir : "tests/vectors";
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct CMUnitTest *)a)->name, ((const struct CMUnitTest *)b)->name);
}

/* unit [PATTERN]: all tests, or those whose name matches */
int main(int argc, char **argv)
{
	umask(022);
	qsort(tests, n_tests, sizeof(*tests), by_name);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	int failed = _cmocka_run_group_tests("unit", tests, n_tests, NULL, NULL);
	if (*scratch)
		(void)fs_remove_tree(AT_FDCWD, scratch, NULL);
	free(tests);
	return failed ? 1 : 0;
}
