/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/cmd/mix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/input/cache.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"

#define WORKSPACE_LOCK ".mixer.lock-file"

struct open_mix {
	struct mix mix; /* first: mix_close goes from it to the whole */
	struct config *config;
	int lock;       /* the fd that holds the workspace's lock */
	int cache_lock; /* and that of the cache */
};

void mix_close(struct mix *m)
{
	struct open_mix *o = (struct open_mix *)m;

	if (!m)
		return;
	if (m->store)
		store_close(m->store);
	closep(&m->cache);
	config_free(o->config);
	closep(&o->lock);
	closep(&o->cache_lock);
	free(o);
}

/* Who may only read the cache cannot keep others from removing something. */
static int lock_cache(struct open_mix *o, bool alone, struct err *e)
{
	o->cache_lock = cache_lock(o->mix.cache, alone, alone ? e : NULL);
	return alone && o->cache_lock < 0 ? err_in(e, o->cache_lock, "cache '%s'", o->config->cache) : 0;
}

static int open_cache(struct mix *m, struct err *e)
{
	const char *path = m->config->cache;

	m->cache = fs_make_dir(AT_FDCWD, path, 0755, e);
	if (m->cache < 0) {
		int r = err_in(e, m->cache, "cannot open the cache '%s'", path);
		return r == -EACCES || r == -EROFS
			       ? err_hint(e, r, "--cache=DIR, or 'cache =' in mixer.conf, names another place")
			       : r;
	}
	return 0;
}

int mix_open(struct session *s, unsigned flags, struct mix **out, struct err *e)
{
	struct open_mix *o = xcalloc(1, sizeof(*o));
	_cleanup_(mix_closep) struct mix *m = &o->mix;
	struct mix_state state;

	*m = (struct mix){.ui = &s->ui, .progress = s->progress, .cache = -1};
	o->lock = o->cache_lock = -1;
	int r = config_load(s->workspace, &o->config, e);
	if (r < 0)
		return r;
	m->config = o->config;
	if (s->threads)
		o->config->threads = s->threads;
	if (s->executor && executor_parse(s->executor, &o->config->executor) < 0)
		return err_set(e, -ERR_USAGE, "--executor is threads or slurm, not '%s'", s->executor);
	if (s->cache) {
		free(o->config->cache);
		o->config->cache = path_absolute(NULL, s->cache);
	}
	if (flags & MIX_WRITE) {
		o->lock = fs_lock(m->config->dir, WORKSPACE_LOCK, "mixer\n", e);
		if (o->lock < 0)
			return err_in(e, o->lock, "workspace '%s'", m->config->path);
	}
	r = mix_state_load(m->config, &state, e);
	if (r < 0)
		return r;
	m->release = state.release;
	m->previous = state.previous;
	m->format = m->config->format;
	if (flags & (MIX_CACHE | MIX_STORE | MIX_SWEEP)) {
		r = open_cache(m, e);
		if (r >= 0)
			r = lock_cache(o, flags & MIX_SWEEP, e);
	}
	if (r >= 0 && flags & MIX_STORE)
		r = store_open(m->cache, &m->store, e);
	if (r < 0)
		return r;
	*out = take(m);
	return 0;
}
