/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swupd/base/mem.h"
#include "swupd/content/digest.h"
#include "swupd/content/file.h"

struct arena;
struct buf;
struct err;
struct table;

/* manifest(5): a header of "key:\tvalue" lines, an empty line, a line per path (or, in the MoM, per bundle). */

enum file_status {
	STATUS_PRESENT,      /* '.' */
	STATUS_DELETED,      /* 'd' */
	STATUS_GHOSTED,      /* 'g': no longer content, but to be left on disk */
	STATUS_EXPERIMENTAL, /* 'e': bundles only */
};

#define SIZE_UNKNOWN UINT64_MAX
#define VARIANT_MAX  19 /* the letters above have no meaning yet */

struct entry {
	const char *name;   /* absolute path, or a bundle's name */
	struct digest hash; /* zero when deleted or ghosted; of a bundle: of its manifest as a 0644 root:root file */
	uint32_t release;   /* in which it last changed: where its fullfile lies */
	enum file_kind kind;
	enum file_status status;
	uint8_t variant; /* CPU optimisation, 0..VARIANT_MAX, see spec/swupd-format.md section 2.4; 0: for every CPU */
	bool exported;   /* 'x' */
	uint64_t
		size; /* attrs.size, of a bundle: of its manifest; SIZE_UNKNOWN when the text does not tell (an old one) */
};

/* A file that lies beside the manifest on the server and is bound to it: SBOM, lock. */
struct attached {
	const char *name; /* in "<release>/": one component */
	struct digest sha256;
	uint64_t size;
};

struct manifest {
	uint32_t format, release, previous;
	uint32_t minversion;  /* 0: none */
	int64_t timestamp;    /* seconds since 1970 */
	uint64_t contentsize; /* sum of the sizes of the bundle's own files and links */
	const char **includes;
	size_t n_includes;
	const char **also_add;
	size_t n_also_add;
	struct attached *attached;
	size_t n_attached;
	struct entry *entries; /* in the order of the text: by (release, name) */
	size_t n_entries;
	struct arena *arena; /* holds all of the above */
};

struct manifest *manifest_new(void);
void manifest_free(struct manifest *m);
DEFINE_CLEANUP(struct manifest *, manifest_free);

/*
 * Read a manifest. text[0..len) is copied. mom: whether the lines are bundles (KIND_BUNDLE) or paths. release: which one was asked for, 0: any.
 * -ERR_FORMAT: not a whole manifest as manifest(5) says; names, types, counts and duplicates are checked, the message has the line's number.
 * -ERR_LIMIT: more than MANIFEST_MAX bytes or MANIFEST_ENTRIES_MAX lines. Lines without a meaning are dropped: variants above 19, type 'I', deleted
 * bundles in a MoM, the same line again.
 */
int manifest_parse(const char *text, size_t len, bool mom, uint32_t release, struct manifest **out, struct err *e);

/* Write it, entries in the order in which they are; the same struct gives the same bytes. */
void manifest_format(const struct manifest *m, struct buf *out);

/* Put entries into the order of the text. */
void manifest_sort(struct manifest *m);

/*
 * One line per path remains: for each path with variants, the best for a CPU with these levels (bit 0 AVX2, 1 AVX512, 2 APX; 0: baseline only), or
 * none if no variant is for this CPU.
 */
void manifest_select(struct manifest *m, unsigned levels);
unsigned manifest_cpu_levels(void); /* of the CPU we run on */

/* An index from name to struct entry * (of several variants the first); the caller frees it with table_free, before the manifest. */
struct table *manifest_index(const struct manifest *m);

const struct entry *manifest_find(const struct manifest *m, const char *name); /* linear: for the few */

/* The hash under which the MoM lists this text. */
void manifest_hash(const void *text, size_t len, struct digest *out);
