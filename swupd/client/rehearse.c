/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/rehearse.h"

#include <errno.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/boot_update.h"
#include "swupd/client/bootfiles.h"
#include "swupd/client/exchange.h"
#include "swupd/client/machine.h"
#include "swupd/client/plan.h"
#include "swupd/client/stage.h"

/* For people, or bytes for programs. The caller frees it. */
static char *amount(const struct machine *m, uint64_t bytes)
{
	return m->ui->json ? xasprintf("%llu", (unsigned long long)bytes) : text_size(bytes);
}

/* How it would be committed; *clone: what a second tree takes. As exchange() decides once all is staged. */
static int answer_commit(struct machine *m, enum commit how, const struct stage_needs *n, uint64_t *clone,
			 struct err *e)
{
	_cleanup_(exchange_look_free) struct exchange_look look = {0};

	*clone = 0;
	if (how == COMMIT_DOWNLOAD || how == COMMIT_IN_PLACE) {
		ui_answer(m->ui, how == COMMIT_DOWNLOAD ? "commit: none, all is only fetched" : "commit: in place");
		return 0;
	}
	if (how != COMMIT_BY_EXCHANGE) {
		ui_answer(m->ui, "commit: at the next boot");
		return 0;
	}
	int r = exchange_look(m, true, &look, e);
	if (r < 0)
		return r;
	if (!look.possible)
		ui_answer(m->ui, "commit: in place: %s", look.why);
	else if (look.bytes && n->staging + look.bytes > n->root_free)
		ui_answer(m->ui, "commit: in place: there is no room for a second tree");
	else
		ui_answer(m->ui, "commit: by exchange of /usr, prepared as %s", look.snapshot ? "a snapshot" : "links");
	if (look.possible && n->staging + look.bytes <= n->root_free)
		*clone = look.bytes;
	return 0;
}

static void answer_paths(struct machine *m, const struct plan *p)
{
	size_t files = 0, links = 0, dirs = 0, removed = 0;

	for (size_t i = 0; i < p->n_changes; i++) {
		const struct entry *want = p->changes[i].want;
		removed += !want;
		files += want && want->kind == KIND_FILE;
		links += want && want->kind == KIND_LINK;
		dirs += want && want->kind == KIND_DIR;
	}
	ui_answer(m->ui, "files: %zu", files);
	ui_answer(m->ui, "links: %zu", links);
	ui_answer(m->ui, "directories: %zu", dirs);
	ui_answer(m->ui, "removed: %zu", removed);
}

static void answer_bytes(struct machine *m, const struct stage_needs *n, uint64_t clone)
{
	_cleanup_free_ char *download = amount(m, n->download), *staging = amount(m, n->staging);
	_cleanup_free_ char *root = amount(m, n->staging + clone + (n->one_fs ? n->transit : 0));
	_cleanup_free_ char *root_free = amount(m, n->root_free);
	_cleanup_free_ char *transit = amount(m, n->transit), *cache_free = amount(m, n->cache_free);

	const char *least = n->unsized ? "at least " : "";

	if (n->unsized)
		ui_answer(m->ui, "download: not known: the release tells no sizes");
	else
		ui_answer(m->ui, "download: at most %s", download);
	ui_answer(m->ui, "packs: %zu", n->packs);
	ui_answer(m->ui, "single files: %zu", n->fullfiles);
	ui_answer(m->ui, "staging: %s%s", least, staging);
	ui_answer(m->ui, "root: %s%s of %s free", least, root, root_free);
	if (!n->one_fs)
		ui_answer(m->ui, "cache: %s%s of %s free", least, transit, cache_free);
}

/* Before it is fetched only the kernel's size is known, not whether the partition has it already. */
static int answer_boot(struct machine *m, const struct plan *p, struct err *e)
{
	struct boot_room room;

	int r = boot_foresee(m, p, &room, e);
	if (r <= 0)
		return r;
	_cleanup_free_ char *need = amount(m, room.need), *have = amount(m, room.have);
	ui_answer(m->ui, "boot: at most %s of %s free", need, have);
	return 0;
}

int rehearse(struct machine *m, const struct plan *p, const struct catalog *old, const struct catalog *new,
	     enum commit how, struct err *e)
{
	struct stage_needs needs;
	uint64_t clone = 0;

	int r = stage_measure(m, p, old, new, &needs, e);
	if (r < 0)
		return r;
	progress_end(m->progress);
	ui_answer(m->ui, "release: %u to %u", p->from, p->to);
	r = answer_commit(m, how, &needs, &clone, e);
	if (r < 0)
		return r;
	answer_paths(m, p);
	answer_bytes(m, &needs, clone);
	r = answer_boot(m, p, e);
	if (r < 0)
		return r;
	return p->unchecked_space ? 0 : stage_fits(m, &needs, e);
}
