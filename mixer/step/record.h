/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdint.h>

struct err;
struct mix;
struct strv;

/* What a guest is to do while it is watched. */
struct record_job {
	const char *name;           /* of the recording: its image is profile-NAME */
	const char *image;          /* definition that the image is made by: one that runs a workload */
	const struct strv *bundles; /* besides those of the definition; may be empty */
	const char
		*kernel; /* profile: it boots this one, which is recorded, too; NULL: that of the image, which is not */
	uint32_t release;
	const char *workload;     /* file on this machine: a script for the guest's sh */
	uint32_t memory, timeout; /* MiB; seconds */
	const char *out;          /* file of the recording */
};

/*
 * Boot an image of the release in QEMU without KVM, with the plugin that counts (mixer/record), and run the workload in it. Counts begin with the workload, those of a
 * kernel with power-on. The guest has no random addresses, so that what it runs often is not at many of them. -ERR_CHILD: the workload failed, or the guest did not run it.
 */
int record(const struct mix *m, const struct record_job *job, struct err *e);
