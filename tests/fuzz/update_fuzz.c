/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/content/update_file.h"

/* Larger ones are allowed, but only slow */
#define SIZE_TOP (1UL << 20)

static uint8_t old[5000];

struct maker {
	size_t now;
	uint64_t size;
	uint64_t made;
};

static int begin(void *arg, const struct update_record *r, struct view *base, struct err *e)
{
	struct maker *m = arg;

	(void)e;
	m->now = r->number;
	m->size = r->size;
	m->made = 0;
	*base = VIEW_OF(old, sizeof(old));
	return r->size <= SIZE_TOP && r->hash.bytes[0] % 4 != 0;
}

static int take_bytes(void *arg, const void *data, size_t len, struct err *e)
{
	struct maker *m = arg;

	(void)data;
	(void)e;
	m->made += len;
	FUZZ_CHECK(m->made <= m->size);
	return 0;
}

static int end(void *arg, const struct update_record *r, int result, struct err *e)
{
	struct maker *m = arg;

	(void)e;
	FUZZ_CHECK(r->number == m->now);
	FUZZ_CHECK(result < 0 || m->made == r->size);
	return 0;
}

static bool is_small(const struct update_section *s)
{
	uint64_t sum = 0;

	for (size_t k = 0; k < DIFF_STREAMS; k++)
		sum += MIN(s->streams[k].expanded, SIZE_TOP + 1);
	return sum <= SIZE_TOP;
}

/* The input is an update file. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct update_index x;
	struct maker m;
	const struct update_target target = {.begin = begin, .write = take_bytes, .end = end, .arg = &m, .scratch = -1};

	for (size_t i = 0; i < sizeof(old); i++)
		old[i] = (uint8_t)(i * i >> 3);
	int fd = memfd_create("update", MFD_CLOEXEC);
	FUZZ_CHECK(fd >= 0 && fs_write_all(fd, data, size, NULL) == 0);
	if (update_load(fd, UPDATE_MEMORY, &x, NULL) == 0) {
		FUZZ_CHECK(x.memory <= UPDATE_MEMORY);
		update_sort(&x);
		for (size_t i = 0; i < x.n_sections; i++) {
			FUZZ_CHECK(x.sections[i].first + x.sections[i].n <= x.n_records);
			if (is_small(&x.sections[i]))
				(void)update_read(&x, i, fd, x.sections[i].at, &target, NULL);
		}
	}
	close(fd);
	update_index_clear(&x);
	return 0;
}
