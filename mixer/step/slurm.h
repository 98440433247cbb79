/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

struct err;
struct job;
struct mix;

/*
 * Have Slurm's nodes do the jobs whose file is not there, the largest first (jobs are sorted so). They share the cache with this machine and have
 * mixer at the same path:
 *
 *     <cache>/jobs/<id>/N         the jobs of task N, a list (job.h)
 *     <cache>/jobs/<id>/run       what each task runs
 *     <cache>/jobs/<id>/N.log     what it said, and on which node
 *
 * Jobs of about the same memory are an array of tasks, those of a task about TASK_MIN bytes or a TASKS_MAX'th of all. What tasks left undone is tried
 * again while that brings something; the rest is the caller's. When this process ends in any way, its arrays are cancelled.
 *
 * -ERR_CONNECT, -ENOENT: no Slurm to be had. -ERR_CANCELLED: somebody cancelled an array.
 */
int slurm_run(const struct mix *m, struct job *jobs, size_t n, struct err *e);
