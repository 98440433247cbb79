/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fuzz/fuzz.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/client/tar_source.h"
#include "swupd/content/libarchive.h"

#define BLOCK      512UL
#define BLOCK_TYPE 156 /* of a head */

/* A sparse file whose map is damaged has none for libarchive: what is read of it then has a wrong hash, that is all. */
static bool has_sparse(const uint8_t *data, size_t size)
{
	for (size_t at = 0; size - at >= BLOCK; at += BLOCK)
		if (data[at + BLOCK_TYPE] == 'S')
			return true;
	return memmem(data, size, "GNU.sparse", strlen("GNU.sparse"));
}

/* What lies in the tar at this place is what libarchive would unpack. */
static void compare(const struct libarchive *lib, struct archive *a, const uint8_t *content, uint64_t bytes)
{
	uint8_t chunk[4096];
	uint64_t done = 0;
	ssize_t n;

	while ((n = lib->archive_read_data(a, chunk, sizeof(chunk))) > 0) {
		FUZZ_CHECK((uint64_t)n <= bytes - done && memcmp(content + done, chunk, (size_t)n) == 0);
		done += (uint64_t)n;
	}
	FUZZ_CHECK(n < 0 || done == bytes);
}

/* Was it compared? Not where the tar has another of this name behind it. */
static bool find_one(const struct tar_source *t, const char *name, const struct libarchive *lib, struct archive *a,
		     const uint8_t *data, size_t size)
{
	const bool sparse = has_sparse(data, size);
	uint64_t at, bytes;

	if (tar_source_find(t, text_starts(name, "./") ? name + 2 : name, &at, &bytes) < 0) {
		FUZZ_CHECK(sparse);
		return true;
	}
	FUZZ_CHECK(at <= size && bytes <= size - at);
	if (sparse)
		return true;
	if (at != (uint64_t)lib->archive_filter_bytes(a, 0))
		return false;
	compare(lib, a, data + at, bytes);
	return true;
}

/* Each file of the tar is found, within it. */
static void find_all(const struct tar_source *t, const uint8_t *data, size_t size)
{
	const struct libarchive *lib;
	struct archive_entry *x;
	bool last = true;

	FUZZ_CHECK(libarchive_load(&lib, NULL) >= 0);
	struct archive *a = lib->archive_read_new();
	lib->archive_read_support_format_tar(a);
	int r = lib->archive_read_open_memory(a, data, size);
	while (r == ARCHIVE_OK && ((r = lib->archive_read_next_header(a, &x)) == ARCHIVE_OK || r == ARCHIVE_WARN)) {
		const char *name = lib->archive_entry_pathname(x);
		if (name && lib->archive_entry_filetype(x) == AE_IFREG && !lib->archive_entry_hardlink(x) &&
		    lib->archive_entry_sparse_count(x) == 0)
			last = find_one(t, name, lib, a, data, size);
		r = ARCHIVE_OK;
	}
	FUZZ_CHECK(last);
	lib->archive_read_free(a);
}

/* The input is a tar of a published tree. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(tar_source_freep) struct tar_source *t = NULL;
	_cleanup_close_ int fd = memfd_create("tar", MFD_CLOEXEC);
	char path[32];

	FUZZ_CHECK(fd >= 0 && fs_write_all(fd, data, size, NULL) >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (tar_source_open(path, &t, NULL) < 0)
		return 0;
	find_all(t, data, size);
	return 0;
}
