/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/coverage.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "mixer/step/release.h"
#include "mixer/step/step.h"
#include "mixer/step/ways.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"
#include "swupd/content/ways.h"

#define WWW  "update/www/"
#define DAY  INT64_C(86400)
#define WEEK (7 * DAY)
#define ANY  UINT32_MAX

void history_clear(struct history *h)
{
	free(h->items);
	*h = (struct history){0};
}

/* -- the history -- */

static uint32_t before(const struct mix *m, const struct manifest *mom, const struct release_numbers *all)
{
	if (mom->previous < mom->release && release_is_whole(m, mom->previous))
		return mom->previous;
	/* it was removed; the first of all has none, and older ones are not its predecessors */
	for (size_t i = mom->previous ? all->n : 0; i-- > 0;)
		if (all->items[i] < mom->release && release_is_whole(m, all->items[i]))
			return all->items[i];
	return 0;
}

static int load_history(const struct mix *m, uint32_t to, struct history *out, struct err *e)
{
	_cleanup_(release_numbers_clear) struct release_numbers all = {0};

	int r = release_list(m, &all, e);
	for (uint32_t at = to; r >= 0 && at;) {
		_cleanup_(manifest_freep) struct manifest *mom = NULL;
		_cleanup_free_ char *trees = xasprintf("update/releases/%u/full.tree", at);
		r = release_load_mom(m, at, &mom, e);
		if (r < 0)
			return r;
		VEC_GROW(out->items, out->n, out->cap);
		out->items[out->n++] = (struct published){.release = at,
							  .format = mom->format,
							  .time = mom->timestamp,
							  .trees = fs_exists(m->config->dir, trees)};
		at = before(m, mom, &all);
	}
	return r;
}

/* -- the policy -- */

/*
 * From release to release of a span it is one step, and one more to those of the next longer span (coverage.h). Those of one day go by their numbers, since all of one lock have one time.
 */
static const struct span {
	int64_t time;
	uint32_t numbers;
} spans[] = {
	{DAY, 8}, {DAY, 4 * RELEASE_STEP}, {DAY, ANY}, {WEEK, ANY}, {4 * WEEK, ANY}, {16 * WEEK, ANY}, {INT64_MAX, ANY},
};
static_assert(4 * RELEASE_STEP % 8 == 0, "a span is made of shorter ones");

static bool same_span(const struct published *x, const struct published *y, const struct span *s)
{
	return x->time / s->time == y->time / s->time && x->release / s->numbers == y->release / s->numbers;
}

static bool is_covered(const struct history *h, size_t i)
{
	const struct published *x = &h->items[i], *after = x - 1, *newest = h->items;

	for (size_t k = 0; k + 1 < ARRAY_LEN(spans) && !same_span(x, after, &spans[k]); k++)
		if (same_span(x, newest, &spans[k + 1]))
			return true;
	return false;
}

void coverage_choose(struct history *h, uint32_t cover, uint32_t days)
{
	for (size_t i = 1; i < h->n; i++) {
		const int64_t age = h->items[0].time - h->items[i].time;
		h->items[i].covered = i <= cover || (days && age <= days * DAY && is_covered(h, i));
	}
}

int coverage_load(const struct mix *m, uint32_t to, uint32_t previous, struct history *out, struct err *e)
{
	const struct config *c = m->config;

	int r = load_history(m, to, out, e);
	if (r < 0)
		return r;
	if (previous != COVER_BY_POLICY) {
		coverage_choose(out, previous, 0);
		return 0;
	}
	coverage_choose(out, c->cover, c->cover_days);
	out->every_way = c->cover || c->cover_days;
	return 0;
}

/* -- ways -- */

/* Clients update within a format; into the next one they come from the release that it followed. */
static bool can_be_made(const struct history *h, size_t i)
{
	return h->items[i].trees && (i == 1 || h->items[i].format == h->items[0].format);
}

int coverage_sources(const struct mix *m, const struct history *h, struct strv *out, struct err *e)
{
	_cleanup_(ways_clear) struct ways steps = {0}, chosen = {0};
	const uint32_t to = h->items[0].release;

	int r = ways_list(m, to, &steps, e);
	for (size_t i = 1; r >= 0 && i < h->n; i++)
		if (h->items[i].covered && can_be_made(h, i)) {
			strv_take(out, xasprintf("%u", h->items[i].release));
			ways_add(&steps, h->items[i].release, to, 0);
		}
	ways_choose(&steps, to, &chosen);
	/* from the newest: older ones may go by way of those that are added */
	for (size_t i = 1; r >= 0 && h->every_way && i < h->n; i++) {
		if (!can_be_made(h, i) || ways_next(&chosen, h->items[i].release))
			continue;
		strv_take(out, xasprintf("%u", h->items[i].release));
		ways_add(&steps, h->items[i].release, to, 0);
		ways_clear(&chosen);
		ways_choose(&steps, to, &chosen);
	}
	return r;
}

/* -- what it costs -- */

static void measure(const struct mix *m, char *path, uint64_t *bytes)
{
	_cleanup_free_ char *name = path, *below = xasprintf(WWW "%s", name);
	struct stat st;

	if (fstatat(m->config->dir, below, &st, 0) == 0)
		*bytes += (uint64_t)st.st_size;
}

int coverage_measure(const struct mix *m, uint32_t from, uint32_t to, struct coverage_cost *out, struct err *e)
{
	_cleanup_(manifest_freep) struct manifest *old = NULL, *new = NULL;

	*out = (struct coverage_cost){0};
	int r = release_load_mom(m, from, &old, e);
	if (r >= 0)
		r = release_load_mom(m, to, &new, e);
	if (r < 0)
		return r;
	measure(m, layout_update(to, from), &out->update);
	measure(m, layout_manifest_delta(to, "MoM", from), &out->classic);
	for (size_t i = 0; i < new->n_entries; i++) {
		const struct entry *line = &new->entries[i], *was = manifest_find(old, line->name);
		if (!was || was->release >= line->release)
			continue;
		measure(m, layout_pack(line->release, line->name, was->release), &out->classic);
		measure(m, layout_manifest_delta(line->release, line->name, was->release), &out->classic);
	}
	return 0;
}
