/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "swupd/base/compress.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"
#include "swupd/content/delta.h"
#include "swupd/content/diff.h"
#include "swupd/content/diff_elf.h"
#include "swupd/content/digest.h"
#include "swupd/content/file.h"

DEFINE_CLEANUP(struct arena *, arena_free);

#define FILE_MAX (1UL << 30)

/*
 * diff-streams OLD NEW: what the differences of all files that changed from one tree to the other take, when each
 * stream is compressed as one, and beside it the sum of single deltas. Each difference is applied, too.
 */

static const char *const stream_names[DIFF_STREAMS] = {"control", "copy",    "insert",    "align",      "gap",
						       "value",   "literal", "reference", "correction", "target"};

struct sums {
	struct diff_streams streams;
	size_t files, programs, deflated, bytes, deltas;
	double make, apply;
};

static struct strv names; /* nftw has no argument for it */
static size_t prefix;

static int add_name(const char *path, const struct stat *st, int type, struct FTW *ftw __attribute__((unused)))
{
	if (type == FTW_F && S_ISREG(st->st_mode))
		strv_add(&names, path + prefix);
	return 0;
}

static double cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int try_file(struct sums *sums, const struct buf *old, const struct buf *new, struct err *e)
{
	_cleanup_(diff_streams_clear) struct diff_streams streams = {0};
	_cleanup_(buf_free) struct buf out = {0}, delta = {0};
	struct view base = VIEW_OF((const uint8_t *)old->data, old->len);
	struct diff_cursor cursor = {.streams = &streams};
	const struct diff_source in = {.read = diff_cursor_read, .arg = &cursor};
	const struct attrs attrs = {.kind = KIND_FILE, .mode = 0644, .size = new->len};

	(void)buf_reserve(&out, new->len);
	double begin = cpu();
	int r = diff_make(old->data, old->len, new->data, new->len, &streams, e);
	double made = cpu();
	if (r == 0)
		r = diff_apply(&base, new->len, &in, -1, diff_collect, &out, e);
	sums->make += made - begin;
	sums->apply += cpu() - made;
	if (r == 0 && (out.len != new->len || (out.len > 0 && memcmp(out.data, new->data, out.len) != 0)))
		r = err_set(e, -ERR_DIGEST, "the difference makes another file");
	if (r == 0)
		r = delta_make(old->data, old->len, new->data, new->len, &attrs, DELTA_ANY, &delta, e);
	if (r == 1) /* not worth it */
		r = compress_mem(CODEC_XZ, 0, new->data, new->len, &delta, e);
	if (r < 0)
		return r;
	sums->files++;
	sums->programs += streams.s[DIFF_CONTROL].data[0] == DIFF_PROGRAM;
	sums->deflated += streams.s[DIFF_CONTROL].data[0] == DIFF_DEFLATED;
	sums->bytes += new->len;
	sums->deltas += delta.len;
	for (size_t i = 0; i < DIFF_STREAMS; i++)
		buf_add(&sums->streams.s[i], streams.s[i].data, streams.s[i].len);
	return 0;
}

static int report(const struct sums *sums, struct err *e)
{
	size_t total[3] = {0};

	printf("%-12s %9s %9s %9s\n", "stream", "bytes", "xz -9e", "zstd -19");
	for (size_t i = 0; i < DIFF_STREAMS; i++) {
		_cleanup_(buf_free) struct buf xz = {0}, zstd = {0};
		const struct buf *b = &sums->streams.s[i];
		int r = compress_mem(CODEC_XZ, 0, b->data, b->len, &xz, e);
		if (r == 0)
			r = compress_mem(CODEC_ZSTD, 19, b->data, b->len, &zstd, e);
		if (r < 0)
			return r;
		printf("%-12s %9zu %9zu %9zu\n", stream_names[i], b->len, xz.len, zstd.len);
		total[0] += b->len;
		total[1] += xz.len;
		total[2] += zstd.len;
	}
	printf("%-12s %9zu %9zu %9zu\n", "all", total[0], total[1], total[2]);
	printf("%zu files (%zu as programs, %zu expanded), %zu bytes; single deltas %zu\n", sums->files, sums->programs,
	       sums->deflated, sums->bytes, sums->deltas);
	printf("CPU: making %.2f s, applying %.2f s\n", sums->make, sums->apply);
	return 0;
}

static int run(const char *old_tree, const char *new_tree, struct sums *sums, struct err *e)
{
	_cleanup_(table_freep) struct table *seen = table_new();
	_cleanup_(arena_freep) struct arena *arena = arena_new();

	prefix = strlen(new_tree);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
	if (nftw(new_tree, add_name, 64, FTW_PHYS) != 0)
		return err_errno(e, "%s", new_tree);
	strv_sort_unique(&names);
	for (size_t i = 0; i < names.n; i++) {
		_cleanup_(buf_free) struct buf old = {0}, new = {0};
		_cleanup_free_ char *from = xasprintf("%s%s", old_tree, names.items[i]);
		_cleanup_free_ char *to = xasprintf("%s%s", new_tree, names.items[i]);
		struct stat st;
		if (lstat(from, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		int r = fs_load(AT_FDCWD, from, FILE_MAX, &old, e);
		if (r == 0)
			r = fs_load(AT_FDCWD, to, FILE_MAX, &new, e);
		if (r < 0)
			return err_in(e, r, "%s", names.items[i]);
		if (old.len == new.len && (old.len == 0 || memcmp(old.data, new.data, old.len) == 0))
			continue;
		struct digest *digest = arena_alloc(arena, sizeof(*digest));
		sha256_mem(new.data, new.len, digest);
		if (table_add(seen, digest, sizeof(*digest), digest))
			continue;
		r = try_file(sums, &old, &new, e);
		if (r < 0)
			return err_in(e, r, "%s", names.items[i]);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct sums sums = {0};
	struct err e = ERR_INIT;

	if (argc != 3) {
		fprintf(stderr, "usage: diff-streams OLD NEW\n");
		return 2;
	}
	int r = run(argv[1], argv[2], &sums, &e);
	if (r == 0)
		r = report(&sums, &e);
	if (r < 0)
		fprintf(stderr, "diff-streams: %s\n", e.text);
	diff_streams_clear(&sums.streams);
	strv_free(&names);
	err_clear(&e);
	return r < 0;
}
