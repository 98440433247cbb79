/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "mixer/step/debuginfo.h"
#include "mixer/step/debuginfo_elf.h"
#include "mixer/step/program.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

/* What packages bring: ELF files, of which the names of published files are made; and the list of them, which names files, too. */

static bool is_hex(const char *id)
{
	return strlen(id) < BUILD_ID_TEXT && strspn(id, "0123456789abcdef") == strlen(id);
}

static void try_elf(const uint8_t *data, size_t size)
{
	_cleanup_close_ int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct debuginfo_elf x;

	FUZZ_CHECK(fs_write_all(fd, data, size, NULL) >= 0);
	program_init();
	if (debuginfo_elf_read(fd, &x, NULL) == 1)
		FUZZ_CHECK(is_hex(x.id) && is_hex(x.alt));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(debuginfo_freep) struct debuginfo *d = NULL, *again = NULL;
	_cleanup_(buf_free) struct buf text = {0};

	try_elf(data, size);
	if (debuginfo_parse((const char *)data, size, &d, NULL) < 0)
		return 0;
	for (size_t i = 0; i < d->n_debugs; i++)
		FUZZ_CHECK(*d->debugs[i].id && is_hex(d->debugs[i].id) && !strchr(d->debugs[i].folder, '/'));
	for (size_t i = 0; i < d->n_texts; i++)
		FUZZ_CHECK(d->texts[i].path[0] != '/' && strncmp(d->texts[i].path, "../", 3) != 0);
	/* what was read is written so that it is read the same */
	debuginfo_format(d, &text);
	FUZZ_CHECK(debuginfo_parse(text.data, text.len, &again, NULL) >= 0 && again->n_files == d->n_files &&
		   again->n_debugs == d->n_debugs && again->n_texts == d->n_texts);
	return 0;
}
