/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/ways.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "mixer/step/between.h"
#include "mixer/step/diff.h"
#include "mixer/step/release.h"
#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"
#include "swupd/content/update_file.h"

#define WWW "update/www/"

/* An installation asks for the head of each file on its way, and for ranges of those that it needs. */
#define STEPS_MAX 8

static int list_release(const struct mix *m, uint32_t release, struct ways *out, struct err *e)
{
	_cleanup_free_ char *path = xasprintf(WWW "%" PRIu32, release);
	_cleanup_(strv_free) struct strv names = {0};
	struct stat st;
	uint32_t from;

	_cleanup_close_ int dir = fs_open_dir(m->config->dir, path, e);
	int r = dir < 0 ? dir : fs_list(dir, ".", &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		if (!text_starts(names.items[i], LAYOUT_UPDATE) ||
		    text_u32(names.items[i] + strlen(LAYOUT_UPDATE), 0, release - 1, &from) < 0)
			continue;
		if (fstatat(dir, names.items[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_errno(e, "%s/%s", path, names.items[i]);
		ways_add(out, from, release, (uint64_t)st.st_size);
	}
	return r;
}

int ways_list(const struct mix *m, uint32_t to, struct ways *out, struct err *e)
{
	_cleanup_(release_numbers_clear) struct release_numbers all = {0};

	int r = release_list(m, &all, e);
	for (size_t i = 0; r >= 0 && i < all.n && all.items[i] <= to; i++)
		r = list_release(m, all.items[i], out, e);
	return r;
}

static int list_chosen(const struct mix *m, uint32_t to, struct ways *out, struct err *e)
{
	_cleanup_(ways_clear) struct ways all = {0};

	int r = ways_list(m, to, &all, e);
	if (r >= 0)
		ways_choose(&all, to, out);
	return r;
}

/* One that cannot be read does not keep others from being published. */
static void measure(const struct mix *m, struct way_step *step)
{
	_cleanup_free_ char *name = layout_update(step->to, step->from), *path = xasprintf(WWW "%s", name);
	_cleanup_close_ int fd = openat(m->config->dir, path, O_RDONLY | O_CLOEXEC);
	char fixed[UPDATE_FIXED];
	struct err why = ERR_INIT;
	size_t index, head = 0;

	int r = fd < 0 ? err_errno(&why, "cannot be opened") : fs_read_at(fd, 0, fixed, sizeof(fixed), &why);
	if (r >= 0)
		r = update_head_size(fixed, sizeof(fixed), &index, &head, &why);
	if (r < 0)
		ui_warn(m->ui,
			"%s: %s; 'mixer build delta-packs --from=%" PRIu32 " --to=%" PRIu32
			"' makes it when it is removed",
			path, why.text, step->from, step->to);
	err_clear(&why);
	step->head = head;
}

int ways_save(const struct mix *m, uint32_t to, struct ways *chosen, struct err *e)
{
	_cleanup_free_ char *name = layout_updates(to), *path = xasprintf(WWW "%s", name);
	_cleanup_(buf_free) struct buf text = {0}, now = {0};

	for (size_t i = 0; i < chosen->n; i++)
		measure(m, &chosen->items[i]);
	ways_format(chosen, &text);
	if (fs_load(m->config->dir, path, MANIFEST_MAX, &now, NULL) < 0 && !text.len)
		return 0;
	if (now.len == text.len && memcmp(now.data, text.data, text.len) == 0)
		return 0;
	int r = text.len ? fs_save(m->config->dir, path, text.data, text.len, 0644, e)
			 : fs_remove_tree(m->config->dir, path, e);
	return r < 0 ? err_in(e, r, "cannot list the updates to release %" PRIu32, to) : 0;
}

int ways_publish(const struct mix *m, uint32_t to, struct err *e)
{
	_cleanup_(ways_clear) struct ways chosen = {0};

	int r = list_chosen(m, to, &chosen, e);
	return r < 0 ? err_in(e, r, "cannot list the updates to release %" PRIu32, to) : ways_save(m, to, &chosen, e);
}

int ways_load(const struct mix *m, uint32_t to, struct ways *out, struct digest *hash, struct err *e)
{
	_cleanup_free_ char *name = layout_updates(to), *path = xasprintf(WWW "%s", name);
	_cleanup_(buf_free) struct buf text = {0};

	if (!fs_exists(m->config->dir, path))
		return 0;
	int r = fs_load(m->config->dir, path, MANIFEST_MAX, &text, e);
	if (r < 0)
		return r;
	ways_parse(text.data, text.len, to, out);
	manifest_hash(text.data, text.len, hash);
	return 1;
}

int ways_from_nothing(const struct mix *m, uint32_t to, struct ways *out, struct err *e)
{
	_cleanup_(ways_clear) struct ways chosen = {0};

	int r = list_chosen(m, to, &chosen, e);
	ways_follow(&chosen, 0, to, out);
	return r;
}

/* All objects of a release once more cost what they are; a way of changes costs their sum, and what they are made from. */
static bool is_short(const struct ways *way)
{
	uint64_t changes = 0;

	for (size_t i = 1; i < way->n; i++)
		changes += way->items[i].bytes;
	return way->n && way->n <= STEPS_MAX && changes <= way->items[0].bytes / 2;
}

int ways_complete(const struct mix *m, uint32_t to, struct err *e)
{
	_cleanup_(between_clear) struct between b = {0};
	_cleanup_(ways_clear) struct ways way = {0};

	if (m->config->classic)
		return 0;
	int r = ways_from_nothing(m, to, &way, e);
	if (r < 0 || is_short(&way))
		return r;
	r = between_open(m, 0, to, &b, e);
	if (r >= 0)
		r = diff_update(&b, e);
	return r < 0 ? r : ways_publish(m, to, e);
}
