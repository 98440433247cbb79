/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/test.h"

#include <string.h>

#include "mixer/step/toolroot_inside.h"

/* The number of the first step at or after from that has this kind and target, which must be there */
static size_t step_of(const struct inside_plan *p, size_t from, enum step_kind kind, const char *target)
{
	for (size_t i = from; i < p->n; i++)
		if (p->steps[i].kind == kind && strcmp(p->steps[i].target, target) == 0)
			return i;
	fail_msg("no step for %s", target);
	return 0;
}

TEST(toolroot_is_private_and_read_only_before_anything_is_mounted_in_it)
{
	_cleanup_(inside_plan_free) struct inside_plan p = {0};
	const struct toolroot_job job = {0};
	struct err e = ERR_INIT;

	assert_ok(inside_plan_make("/cache/tools/x", &job, &p, &e), &e);
	const size_t bind = step_of(&p, 0, STEP_BIND, "/proc");
	assert_string_equal(p.steps[bind].source, "/cache/tools/x");
	assert_true(step_of(&p, 0, STEP_PRIVATE, "/proc") < bind);
	const size_t private = step_of(&p, bind, STEP_PRIVATE, "/proc"), ro = step_of(&p, bind, STEP_READONLY, "/proc");
	assert_true(private < ro);
	for (size_t i = 0; i < p.n; i++)
		if (p.steps[i].kind == STEP_TMPFS || p.steps[i].kind == STEP_PROC)
			assert_true(i > ro);
	assert_int_equal(p.steps[p.n - 2].kind, STEP_ROOT);
	assert_int_equal(p.steps[p.n - 1].kind, STEP_CHDIR);
	assert_string_equal(p.steps[p.n - 1].target, "/");
}

TEST(toolroot_binds_are_made_in_memory_and_read_only_unless_told)
{
	_cleanup_(inside_plan_free) struct inside_plan p = {0};
	const struct toolroot_bind binds[] = {{"/usr", "/mnt/a/b", false}, {"/etc/passwd", "/tmp/list", true}};
	const struct toolroot_job job = {.binds = binds, .n_binds = ARRAY_LEN(binds), .dir = "/mnt/a"};
	struct err e = ERR_INIT;

	assert_ok(inside_plan_make("/r", &job, &p, &e), &e);
	const size_t parent = step_of(&p, 0, STEP_DIR, "/proc/mnt/a");
	const size_t place = step_of(&p, parent, STEP_DIR, "/proc/mnt/a/b");
	const size_t bind = step_of(&p, place, STEP_BIND, "/proc/mnt/a/b");
	(void)step_of(&p, bind, STEP_READONLY, "/proc/mnt/a/b");
	const size_t file = step_of(&p, 0, STEP_FILE, "/proc/tmp/list");
	(void)step_of(&p, file, STEP_BIND, "/proc/tmp/list");
	for (size_t i = 0; i < p.n; i++)
		assert_false(p.steps[i].kind == STEP_READONLY && strcmp(p.steps[i].target, "/proc/tmp/list") == 0);
	assert_string_equal(p.steps[p.n - 1].target, "/mnt/a");
}

TEST(toolroot_refuses_binds_that_cannot_be)
{
	static const struct {
		struct toolroot_bind bind;
		const char *error;
	} cases[] = {
		{{"/usr", "mnt", false}, "nothing can be bound to 'mnt'"},
		{{"/usr", "/mnt/../usr", false}, "nothing can be bound to '/mnt/../usr'"},
		{{"/usr", "/proc/x", false}, "nothing can be bound to '/proc/x'"},
		{{"/usr", "/dev", false}, "nothing can be bound to '/dev'"},
		{{"/proc/self/fd/0", "/mnt/x", false}, "'/proc/self/fd/0' cannot be bound: it is below /proc"},
		{{"/does/not/exist", "/mnt/x", false}, "'/does/not/exist': No such file or directory"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct inside_plan p = {0};
		struct err e = ERR_INIT;
		const struct toolroot_job job = {.binds = &cases[i].bind, .n_binds = 1};
		assert_true(inside_plan_make("/r", &job, &p, &e) < 0);
		assert_string_equal(e.text, cases[i].error);
		assert_int_equal(p.n, 0);
		err_clear(&e);
	}
}
