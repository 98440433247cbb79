/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/compress.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/view.h"
#include "swupd/content/diff.h"
#include "swupd/content/digest.h"
#include "swupd/content/file.h"

struct err;

/*
 * update(5), <to>/update-from-<from>: what changes between two releases, in one file for all bundles. Nothing in it is trusted: whoever reads it knows the hashes.
 *
 *     magic      8 bytes    "limpid-u"
 *     version    4          1; integers of this head are little-endian
 *     head       4          bytes from the start of the file to the end of the last meta section: what to ask for first
 *     stored     4          bytes of the index
 *     expanded   4          bytes of the index when it is expanded
 *     index                 one zstd or xz stream
 *     sections              in the order of the index, without gaps
 *
 * A section holds records: objects that a set of bundles has in common, so that a client fetches whole sections and little that it does not need. Those marked as meta come
 * first and hold manifests (the release's MoM is the first record). A section is DIFF_STREAMS streams (diff.h), one after the other, each of all its records and compressed by
 * itself.
 *
 * The index, expanded, of LEB128 integers but where bytes are said:
 *
 *     from to               releases
 *     prefix                bytes of a hash that tell it from all others in here, 4 to 32
 *     length bytes          signature of the MoM (DER); length 0: it is not signed
 *     n, n times            attributes: kind (1 file, 2 directory, 3 link), mode, uid, gid
 *     n, n times            sections: flags (1: meta), records, and of each stream codec (0 none, 3 xz, 4 zstd), bytes expanded, bytes stored
 *     then of all records, column by column:
 *             prefix bytes  hash of the object
 *             prefix bytes  hash of the file it is made from; zeros: of nothing
 *             attributes    which of those above
 *             size          of the object; for a link, of its target
 *             bytes         that it takes of the first stream; then those of the second, and so on
 */
#define UPDATE_MAGIC     "limpid-u"
#define UPDATE_VERSION   1
#define UPDATE_FIXED     24 /* bytes before the index */
#define UPDATE_META      1  /* flag of a section */
#define UPDATE_INDEX_MAX (64UL << 20)
#define UPDATE_HEAD_MAX  (256UL << 20)
#define UPDATE_META_MAX  (512UL << 20) /* bytes that all streams of manifests expand to */
#define UPDATE_RECORDS   1000000UL
#define UPDATE_SECTIONS  100000UL

/*
 * Memory for the indices of all files on a way, since nobody has signed them: text, and for each record and section what the readers have. A million records take some 45 MB,
 * 200,000 files 9 MB; whatever leads from nothing has at most half of its records again in the files behind it.
 */
#define UPDATE_MEMORY         (64UL << 20)
#define UPDATE_RECORD_MEMORY  16UL
#define UPDATE_SECTION_MEMORY 512UL

/* What a reader holds for the literals of a section, for each other stream, and for the index. More is refused. */
#define UPDATE_DICTIONARY (8UL << 20)
#define UPDATE_NEAR       (1UL << 20)
static inline size_t update_window(enum diff_stream s)
{
	return s == DIFF_LITERAL ? UPDATE_DICTIONARY : UPDATE_NEAR;
}

/* Where an index was read, records are made from it one by one. */
struct update_record {
	size_t number;
	struct digest hash, from;  /* of both the first x->prefix bytes; from: zeros, no file */
	const struct attrs *shape; /* without the size; x's */
	uint64_t size;
	uint64_t bytes[DIFF_STREAMS];
};

struct update_section {
	bool meta;
	size_t first, n;     /* its records */
	uint64_t at, stored; /* its bytes in the file */
	struct {
		enum codec codec;
		uint64_t expanded, stored;
	} streams[DIFF_STREAMS];
	uint32_t columns[DIFF_STREAMS]; /* where the text says what its records take of them */
};

struct update_index {
	uint32_t from, to;
	unsigned prefix;
	struct buf signature;
	struct attrs *shapes;
	size_t n_shapes;
	struct update_section *sections;
	size_t n_sections;
	size_t n_records;
	struct update_record *records; /* that are to be written; NULL in what was read, which has the rest */
	struct buf text;
	const uint8_t *hashes, *froms; /* in text: prefix bytes of each record */
	struct update_item {
		uint64_t size : 48, shape : 16;
	} * items;
	uint32_t *by_hash; /* records; NULL until update_sort() */
	size_t memory;     /* counted in UPDATE_MEMORY */
};
void update_index_clear(struct update_index *x);

/* Of what was read: a record, without what it takes of the streams. */
struct update_record update_record_at(const struct update_index *x, size_t number);
uint64_t update_size_of(const struct update_index *x, size_t number);

/* Before records are looked for. */
void update_sort(struct update_index *x);

/* The record of the object whose hash has these first bytes, as far as the index tells hashes apart; SIZE_MAX: there is none. x is sorted. */
size_t update_find(const struct update_index *x, const struct digest *hash, unsigned bytes);

/*
 * Bytes from the start to the end of the index and of the manifests, by the first UPDATE_FIXED. -ERR_FORMAT: no update file, or of a version that we do not know. -ERR_LIMIT.
 */
int update_head_size(const void *file, size_t len, size_t *index, size_t *head, struct err *e);

/*
 * Read the index of a file that has it, at least. room: of UPDATE_MEMORY what other files leave; it takes no more, and little besides. -ERR_FORMAT, -ERR_LIMIT. The caller clears x,
 * also after a failure.
 */
int update_load(int fd, size_t room, struct update_index *x, struct err *e);

/* Is it made from a file? */
bool update_has_base(const struct update_record *r);

/* Does this prefix begin the hash? */
bool update_is(const struct update_index *x, const struct digest *prefix, const struct digest *hash);

/* Who makes objects from a section. Records come in their order; they are lent until end. */
struct update_target {
	/* 1: to be made, of base if it is made from a file (lent until end); 0: to be passed over */
	int (*begin)(void *arg, const struct update_record *r, struct view *base, struct err *e);
	diff_write_fn *write;
	/* of each that is to be made; result: 0, or why it cannot be. A negative return ends the reading. */
	int (*end)(void *arg, const struct update_record *r, int result, struct err *e);
	void *arg;
	int scratch; /* diff_apply()'s */
};

/*
 * Make what the target wants of a section, whose stored bytes begin at offset at of a file. Memory: the dictionaries, 1 MiB, and what diff_apply needs.
 */
int update_read(const struct update_index *x, size_t section, int fd, uint64_t at, const struct update_target *t,
		struct err *e);

/*
 * Writing: the streams of manifests, a section's records, compressed (added to out), its table filled in. Then, when all sections are there, everything before them; sets their places.
 */
int update_pack(const struct diff_streams *streams, struct update_section *s, struct buf *out, struct err *e);
int update_format(struct update_index *x, struct buf *out, struct err *e);

/*
 * The same for streams that may be large: those above UPDATE_LARGE are compressed as they come, into files of the directory scratch, which is lent. What is added to
 * update_packer_streams() is settled at times. The end fills the table of s in, and then the stored streams can be written.
 */
#define UPDATE_LARGE (64UL << 20)
struct update_packer;
struct update_packer *update_packer_new(int scratch);
void update_packer_free(struct update_packer *p);
DEFINE_CLEANUP(struct update_packer *, update_packer_free);
struct diff_streams *update_packer_streams(struct update_packer *p); /* what is in memory */
uint64_t update_packer_len(const struct update_packer *p, enum diff_stream s);
int update_packer_settle(struct update_packer *p, struct err *e);
int update_packer_end(struct update_packer *p, struct update_section *s, struct err *e);
int update_packer_write(const struct update_packer *p, int fd, struct err *e);
