/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mixer/image/image.h"
#include "mixer/step/step.h"
#include "mixer/step/tree_archive.h"
#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define BLOCK          4096UL /* a page: what DAX maps */
#define INODE          256UL  /* bytes of an ext4 inode */
#define LINK_IN_INODE  60     /* a shorter target needs no block */
#define FIRST_INODE    11     /* lost+found; those before are the file system's own */
#define LOST_AND_FOUND 4      /* blocks */
#define GROUP          32768UL
#define GROWTH         (2UL << 20) /* what a try has more than the one before */
#define TRIES          16

static uint64_t up(uint64_t n, uint64_t multiple)
{
	return (n + multiple - 1) / multiple * multiple;
}

static size_t base_length(const char *path)
{
	return strlen(strrchr(path, '/') + 1);
}

static size_t dir_length(const char *path)
{
	return (size_t)(strrchr(path, '/') - path);
}

/* The blocks of all directories of t: 8 bytes and a name for each entry, to a multiple of 4. */
static uint64_t directory_blocks(const struct tree *t)
{
	uint64_t blocks = 1; /* the root's */

	for (size_t d = 0; d < t->n; d++) {
		if (t->nodes[d].attrs.kind != KIND_DIR)
			continue;
		const char *path = t->nodes[d].path;
		const size_t len = strlen(path);
		uint64_t bytes = 64; /* itself, its parent, the checksum */
		/* what is below follows, but "a-b" sorts before "a/b" */
		for (size_t i = d + 1; i < t->n && strncmp(t->nodes[i].path, path, len) == 0; i++)
			if (t->nodes[i].path[len] == '/' && dir_length(t->nodes[i].path) == len)
				bytes += 8 + up(base_length(t->nodes[i].path), 4);
		/* a directory of several blocks has some room left in each, and an index */
		blocks += bytes <= BLOCK ? 1 : bytes / (BLOCK - 256) + 2;
	}
	return blocks;
}

/* What mke2fs needs for t, closely from above: a file system that is never written to has no use for free blocks. */
static uint64_t ext4_size(const struct tree *t, bool journal, uint64_t *inodes)
{
	uint64_t blocks = directory_blocks(t) + LOST_AND_FOUND;

	*inodes = t->n + FIRST_INODE + 1;
	for (size_t i = 0; i < t->n; i++) {
		const struct attrs *a = &t->nodes[i].attrs;
		if (a->kind == KIND_FILE || (a->kind == KIND_LINK && a->size >= LINK_IN_INODE))
			blocks += up(a->size, BLOCK) / BLOCK;
		/* of a large file's extents, one in 128 MiB, some do not fit into the inode */
		if (a->kind == KIND_FILE && a->size > 2 * GROUP * BLOCK)
			blocks += 1;
	}
	blocks += up(*inodes, 16) * INODE / BLOCK + 16;
	if (journal)
		blocks += MAX(1024UL, MIN(blocks / 32, 16384UL));
	for (uint64_t groups = blocks / GROUP + 1, had = 0; groups > had; had = groups, groups = blocks / GROUP + 1)
		blocks += (groups - had) * 8; /* bitmaps, a copy of the superblock, descriptors */
	return blocks * BLOCK;
}

static int set_size(const struct image_job *job, const char *name, uint64_t size, struct err *e)
{
	_cleanup_close_ int fd = openat(job->work, name, O_RDWR | O_CLOEXEC);

	return fd < 0 || ftruncate(fd, (off_t)size) < 0 ? err_errno(e, "%s", name) : 0;
}

static int file_size(const struct image_job *job, const char *name, uint64_t *out, struct err *e)
{
	struct stat st;

	if (fstatat(job->work, name, &st, 0) < 0)
		return err_errno(e, "%s", name);
	*out = (uint64_t)st.st_size;
	return 0;
}

static int too_small(const struct image_filesystem_options *o, struct err *e)
{
	_cleanup_free_ char *size = text_size(o->size);

	return err_set(e, -ERR_SPACE, "the content does not fit into %s", size);
}

/* --- erofs ---------------------------------------------------------------------------------------------------------------- */

static int make_erofs(const struct image_job *job, const struct image_filesystem_options *o, const char *tar,
		      const char *name, struct err *e)
{
	char uuid[UUID_TEXT];
	uint64_t size = 0;

	image_uuid(job, o->id_label, uuid);
	/*
	 * -T0 is OBJECT_MTIME, for the file system, too: inodes with its time are the short ones. SOURCE_DATE_EPOCH would win. What is inline cannot be
	 * mapped: the end of a file would not be DAX's, nor would a small file.
	 */
	static const char script[] = "unset SOURCE_DATE_EPOCH; exec mkfs.erofs --quiet --tar=f -b4096 -Enoinline_data "
				     "-x-1 -T0 -U \"$1\" -L \"$2\" \"$3\" \"$4\"";
	const char *argv[] = {"sh", "-c", script, "mkfs.erofs", uuid, o->label, name, tar, NULL};
	int r = image_run(job, argv, NULL, NULL, 0, NULL, e);
	if (r >= 0)
		r = file_size(job, name, &size, e);
	if (r >= 0 && o->size && size > o->size)
		return too_small(o, e);
	return r < 0 ? r : set_size(job, name, o->size ? o->size : up(size, MAX(o->multiple, BLOCK)), e);
}

/* --- ext4 ----------------------------------------------------------------------------------------------------------------- */

static int run_mke2fs(const struct image_job *job, const struct image_filesystem_options *o, const char *tar,
		      uint64_t size, uint64_t inodes, const char *name, struct err *e)
{
	char uuid[UUID_TEXT], seed[UUID_TEXT];
	_cleanup_free_ char *seed_label = xasprintf("%s hash seed", o->id_label);
	_cleanup_free_ char *count = xasprintf("%llu", (unsigned long long)inodes);
	_cleanup_free_ char *blocks = xasprintf("%llu", (unsigned long long)(size / BLOCK));

	image_uuid(job, o->id_label, uuid);
	image_uuid(job, seed_label, seed);
	_cleanup_free_ char *extended =
		xasprintf("hash_seed=%s,lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0", seed);
	_cleanup_free_ char *features =
		xasprintf("%s^resize_inode,^orphan_file,^metadata_csum_seed", o->journal ? "" : "^has_journal,");
	const char *argv[] = {"mke2fs", "-q", "-F",     "-t",  "ext4", "-b",     "4096", "-I",     "256",
			      "-m",     "0",  "-N",     count, "-O",   features, "-E",   extended, "-U",
			      uuid,     "-L", o->label, "-d",  tar,    name,     blocks, NULL};
	return image_run(job, argv, NULL, NULL, 0, NULL, e);
}

static bool is_full(const struct err *e)
{
	return e->text && (strstr(e->text, "Could not allocate") || strstr(e->text, "No free space"));
}

static int make_ext4(const struct image_job *job, const struct tree *t, const struct image_filesystem_options *o,
		     const char *tar, const char *name, struct err *e)
{
	uint64_t inodes, size = ext4_size(t, o->journal, &inodes);

	size = o->size ? o->size : up(size, MAX(o->multiple, BLOCK));
	for (unsigned i = 0;; i++, size += MAX(o->multiple, GROWTH)) {
		_cleanup_(err_clear) struct err own = ERR_INIT;
		(void)unlinkat(job->work, name, 0);
		int r = run_mke2fs(job, o, tar, size, inodes, name, &own);
		if (r >= 0)
			return set_size(job, name, size, e);
		/* a tree of odd shape needs more than was reckoned: fragments, indexes of directories */
		if (is_full(&own) && o->size)
			return too_small(o, e);
		if (!is_full(&own) || i == TRIES) {
			err_move(e, &own);
			return r;
		}
	}
}

int image_write_filesystem(const struct image_job *job, const struct tree *t, const struct image_filesystem_options *o,
			   const char *name, uint64_t *size, struct err *e)
{
	_cleanup_free_ char *tar = xasprintf(".%s.tar", name);
	_cleanup_close_ int fd = image_create(job, tar, e);

	int r = fd < 0 ? fd : tree_write_tar(job->m->store, t, fd, e);
	if (r >= 0)
		r = o->kind == FILESYSTEM_EROFS ? make_erofs(job, o, tar, name, e) : make_ext4(job, t, o, tar, name, e);
	(void)unlinkat(job->work, tar, 0);
	if (r >= 0 && size)
		r = file_size(job, name, size, e);
	return r < 0 ? err_in(e, r, "%s", name) : 0;
}
