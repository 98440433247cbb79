/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/fullfile.h"
#include "swupd/content/tar.h"

#define READ_MAX (4UL << 20) /* of bombs the beginning is enough */
#define TEXT_MAX 65536UL

static void read_all(const void *data, size_t len)
{
	_cleanup_(tar_closep) struct tar *t = NULL;
	struct tar_member m;
	char chunk[4096];
	size_t sum = 0;
	int n = 1;

	if (tar_open_mem(data, len, &t, NULL) < 0)
		return;
	while (sum < READ_MAX && tar_next(t, &m, NULL) > 0) {
		FUZZ_CHECK(m.name && (m.attrs.mode & ~07777U) == 0);
		FUZZ_CHECK(m.attrs.kind != KIND_LINK || m.link);
		FUZZ_CHECK(m.attrs.kind != KIND_BUNDLE);
		sum += 512;
		while (sum < READ_MAX && (n = tar_read(t, chunk, sizeof(chunk), NULL)) > 0)
			sum += (size_t)n;
		if (n < 0)
			break;
	}
}

static void read_texts(const void *data, size_t len)
{
	static const char *const names[] = {"Manifest.MoM", "Manifest.MoM.sig"};
	struct buf texts[2] = {0};

	int r = tar_read_texts(data, len, names, ARRAY_LEN(names), TEXT_MAX, texts, NULL);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		FUZZ_CHECK(texts[i].len <= TEXT_MAX);
		FUZZ_CHECK(r >= 0 || texts[i].len == 0);
		buf_free(&texts[i]);
	}
}

/* The hash that it would have to have is that of its first member's name; nothing but it may appear, and only with that content. */
static void unpack(const void *data, size_t len)
{
	_cleanup_(tar_closep) struct tar *t = NULL;
	_cleanup_(strv_free) struct strv names = {0};
	struct digest want = digest_zero, got;
	struct tar_member m;
	char hex[DIGEST_HEX];
	char path[] = "/tmp/tar_fuzz.XXXXXX";

	if (tar_open_mem(data, len, &t, NULL) < 0 || tar_next(t, &m, NULL) <= 0 || strlen(m.name) < DIGEST_HEX - 1 ||
	    m.attrs.size > READ_MAX)
		return;
	snprintf(hex, sizeof(hex), "%s", m.name);
	if (digest_parse(hex, &want) < 0 || !mkdtemp(path))
		return;
	_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fullfile_unpack_mem(data, len, &want, dir, NULL);
	FUZZ_CHECK(fs_list(dir, ".", &names, NULL) >= 0 && names.n == (r >= 0));
	if (r >= 0)
		FUZZ_CHECK(strcmp(names.items[0], hex) == 0 && file_hash_at(dir, hex, NULL, &got, NULL) >= 0 &&
			   digest_equal(&got, &want));
	FUZZ_CHECK(fs_remove_tree(AT_FDCWD, path, NULL) >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ uint8_t *copy = xmemdup(data, size);

	read_all(copy, size);
	read_texts(copy, size);
	unpack(copy, size);
	return 0;
}
