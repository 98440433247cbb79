/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

struct node;
struct tree;

/* A new file and the old one that it probably comes from. */
struct peer {
	const struct node *old, *new;
};

/*
 * The pairs of regular files worth a delta between two releases (sorted trees), spec/mixer-behaviour.md section 7: the same name with other content; else, among
 * the names that went and those that came, equal content, then names that are equal without digits and dots (versions), then without [a-f], too (hashes). Each new
 * file once. The caller frees *out.
 */
void peers_find(const struct tree *old, const struct tree *new, struct peer **out, size_t *n);
