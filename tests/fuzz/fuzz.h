/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * A fuzz target: <name>_fuzz.c defines this and its corpus is corpus/<name>. It ends the program (abort, or a
 * sanitizer does) when something is wrong, and returns 0. Linked with main.c it runs over a corpus (ci/fuzz, a part of
 * make check), with libFuzzer in its place (make fuzz) it looks for more.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Like assert(), but there with NDEBUG, too */
#define FUZZ_CHECK(condition)                                                                                          \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			abort();                                                                                       \
	} while (0)
