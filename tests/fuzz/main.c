/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define INPUT_MAX (64UL << 20)

/* Give each file its name on stderr before it is run: the last one is to blame when the program ends. */
static int run_file(const char *path, unsigned *passed, struct err *e)
{
	_cleanup_(buf_free) struct buf b = {0};
	int r = fs_load(AT_FDCWD, path, INPUT_MAX, &b, e);

	if (r < 0)
		return r;
	fprintf(stderr, "%s\n", path);
	/* of its exact size, so that a sanitizer notices the byte behind; fs_load has a NUL there */
	_cleanup_free_ uint8_t *exact = xmemdup(b.data ? b.data : "", b.len);
	(void)LLVMFuzzerTestOneInput(exact, b.len);
	++*passed;
	return 0;
}

static int run(const char *path, unsigned *passed, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	struct stat st;

	if (stat(path, &st) < 0)
		return err_errno(e, "%s", path);
	if (!S_ISDIR(st.st_mode))
		return run_file(path, passed, e);
	int r = fs_list(AT_FDCWD, path, &names, e);
	for (size_t i = 0; r == 0 && i < names.n; i++) {
		_cleanup_free_ char *file = xasprintf("%s/%s", path, names.items[i]);
		r = run_file(file, passed, e);
	}
	return r;
}

/* <name>_fuzz FILE|FOLDER… */
int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	unsigned passed = 0, failed = 0;

	for (int i = 1; i < argc; i++)
		if (run(argv[i], &passed, &e) < 0) {
			fprintf(stderr, "%s\n", e.text);
			err_clear(&e);
			failed++;
		}
	printf("%u passed, %u failed\n", passed, failed);
	return failed || !passed;
}
