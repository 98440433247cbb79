/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/bad.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/client/machine.h"
#include "swupd/content/format.h"

#define BAD "bad"

static int open_dir(const struct machine *m)
{
	return machine_open_data(m, BAD, O_RDONLY | O_DIRECTORY);
}

int bad_add(const struct machine *m, uint32_t release, const char *reason, struct err *e)
{
	_cleanup_free_ char *name = xasprintf("%u", release), *text = xasprintf("%s\n", reason);

	for (char *c = text; c[1]; c++)
		if (*c == '\n')
			*c = ' ';
	_cleanup_close_ int dir = fs_make_dir(m->data, BAD, 0755, e);
	int r = dir < 0 ? dir : fs_save(dir, name, text, strlen(text), 0644, e);
	return r < 0 ? err_in(e, r, "cannot remember that release %u is bad", release) : 0;
}

int bad_forget(const struct machine *m, uint32_t release, struct err *e)
{
	_cleanup_free_ char *name = xasprintf("%u", release);
	_cleanup_close_ int dir = open_dir(m);

	if (dir < 0 || (unlinkat(dir, name, 0) < 0 && errno == ENOENT))
		return 0;
	return fs_exists(dir, name) ? err_errno(e, "cannot forget that release %u was bad", release)
				    : fs_sync_dir(dir, ".", e);
}

char *bad_reason(const struct machine *m, uint32_t release)
{
	_cleanup_free_ char *name = xasprintf("%u", release);
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_close_ int dir = open_dir(m);

	if (dir < 0 || fs_load(dir, name, SMALL_TEXT_MAX, &text, NULL) < 0)
		return NULL;
	return xstrdup(text.len ? text_trim(text.data) : "");
}

static int compare_numbers(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

int bad_list(const struct machine *m, uint32_t **out, size_t *n, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	_cleanup_close_ int dir = open_dir(m);

	*out = NULL;
	*n = 0;
	int r = dir < 0 ? 0 : fs_list(dir, ".", &names, e);
	if (r < 0 || names.n == 0)
		return r;
	uint32_t *list = xcalloc(names.n, sizeof(*list));
	for (size_t i = 0; i < names.n; i++)
		if (text_u32(names.items[i], 1, INT32_MAX, &list[*n]) >= 0)
			++*n;
	qsort(list, *n, sizeof(*list), compare_numbers);
	*out = list;
	return 0;
}
