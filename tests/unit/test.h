/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* cmocka.h wants these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "swupd/base/err.h"

/*
 * A test registers itself; its name is a statement:
 *
 *     TEST(manifest_refuses_a_path_with_dotdot)
 *     {
 *             …
 *     }
 */
void test_register(const char *name, void (*fn)(void **));
#define TEST(name)                                                                                                     \
	static void name(void **state);                                                                                \
	__attribute__((constructor)) static void register_##name(void)                                                 \
	{                                                                                                              \
		test_register(#name, name);                                                                            \
	}                                                                                                              \
	static void name(void **state __attribute__((unused)))

/* r must be >= 0; shows the error's text otherwise. */
#define assert_ok(r, e)                                                                                                \
	do {                                                                                                           \
		int r_ = (r);                                                                                          \
		if (r_ < 0)                                                                                            \
			fail_msg("%s: %d: %s", #r, r_, (e)->text ? (e)->text : "(no text)");                           \
	} while (0)

/* r must be this negative code and the text must have this part. */
#define assert_fails(r, want_code, e, part)                                                                            \
	do {                                                                                                           \
		int r_ = (r);                                                                                          \
		assert_int_equal(r_, -(want_code));                                                                    \
		assert_non_null((e)->text);                                                                            \
		if (!strstr((e)->text, (part)))                                                                        \
			fail_msg("'%s' does not have '%s'", (e)->text, (part));                                        \
		err_clear(e);                                                                                          \
	} while (0)

/* A new empty directory below $TMPDIR, removed at the end of the program. Returns an fd; path may be NULL. */
int test_dir(char *path, size_t size);

/* The folder of vectors made by the predecessors: $LIMPID_VECTORS or tests/vectors, from the top of the checkout. */
const char *test_vectors(void);
