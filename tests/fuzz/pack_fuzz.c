/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/content/pack.h"

#define READ_MAX (4UL << 20) /* of bombs the beginning is enough */

static void read_members(struct pack *p)
{
	struct pack_member m;
	char chunk[4096];
	size_t sum = 0;
	int n = 1;

	while (sum < READ_MAX && n >= 0 && pack_next(p, &m, NULL) > 0) {
		FUZZ_CHECK(m.attrs.kind == KIND_FILE || m.attrs.kind == KIND_DIR || m.attrs.kind == KIND_LINK);
		FUZZ_CHECK(!m.is_delta || m.attrs.kind == KIND_FILE);
		FUZZ_CHECK(m.attrs.kind != KIND_LINK || m.link);
		FUZZ_CHECK((m.attrs.mode & ~07777U) == 0);
		sum += 512;
		while (sum < READ_MAX && (n = pack_read(p, chunk, sizeof(chunk), NULL)) > 0)
			sum += (size_t)n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(pack_closep) struct pack *p = NULL;
	_cleanup_close_ int fd = memfd_create("pack", MFD_CLOEXEC);

	FUZZ_CHECK(fd >= 0 && fs_write_all(fd, data, size, NULL) >= 0 && lseek(fd, 0, SEEK_SET) == 0);
	if (pack_open(fd, &p, NULL) >= 0)
		read_members(p);
	return 0;
}
