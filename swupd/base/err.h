/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>

/*
 * One error idiom for everything: a function returns 0 or a positive result on success, and -errno or -ERR_* on failure.
 * ERR_* begin at 1024, above every errno, so that one int holds both. struct err carries the text for people; every
 * level may say where it happened (err_in). Only main() prints it.
 */
enum {
	ERR_USAGE = 1024,  /* the command line is wrong */
	ERR_CONFIG,        /* a configuration file is wrong */
	ERR_FORMAT,        /* data does not have the form it should have */
	ERR_LIMIT,         /* data is larger than we are willing to handle */
	ERR_DIGEST,        /* content is not what a trusted list says */
	ERR_SIGNATURE,     /* not signed, or not by a key we trust */
	ERR_EXPIRED,       /* a signature, certificate or freshness statement is out of date */
	ERR_STALE,         /* older than what was seen before */
	ERR_CLOCK,         /* the system clock cannot be right */
	ERR_CONNECT,       /* the server cannot be reached */
	ERR_TLS,           /* the server's certificate is not accepted */
	ERR_MISSING,       /* the server does not have it (404), or no such file below a file:// tree */
	ERR_DOWNLOAD,      /* any other failed transfer */
	ERR_LOCKED,        /* another run holds the lock */
	ERR_SPACE,         /* it would not fit */
	ERR_PATH,          /* a name that leads or would lead outside, or through a symbolic link */
	ERR_MOM,           /* the manifest of manifests cannot be had */
	ERR_MANIFEST,      /* a bundle's manifest cannot be had */
	ERR_RELEASE,       /* the installed release cannot be told, or the wanted one makes no sense */
	ERR_BUNDLE,        /* no such bundle */
	ERR_REQUIRED,      /* the bundle is needed by others */
	ERR_NOT_INSTALLED, /* the bundle is not installed */
	ERR_NOT_LISTED,    /* the path is in no manifest */
	ERR_INCOMPLETE,    /* some problems were found that could not be mended */
	ERR_NO,            /* not an error: the answer is "no" (no update, differences found, nothing to build) */
	ERR_CHILD,         /* a program that was run failed */
	ERR_UNRESOLVABLE,  /* the wanted packages cannot be installed together */
	ERR_CONFLICT,      /* two inputs claim the same thing */
	ERR_CANCELLED,     /* interrupted, or a sibling job failed first */
	ERR_NOT_ROOT,      /* needs root */
	ERR_END,
};

struct err {
	int code;   /* positive: errno or ERR_*; 0: nothing set */
	char *text; /* one sentence, outside in, lower case, no full stop; owned */
	char *hint; /* a way out, or NULL; owned */
};

#define ERR_INIT                                                                                                       \
	{                                                                                                              \
		0                                                                                                      \
	}

/*
 * All of these return code (negative), so that failing is one line. e may be NULL. A newer err_set replaces what e held.
 */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same with errno: "fmt: strerror(errno)"; returns -errno. */
int err_errno(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Say where: puts "fmt: " before the text. Returns code. */
int err_in(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Say what to do about it. Returns code. */
int err_hint(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Exchange the code, keep text and hint: "cannot load the MoM" is ERR_MOM whatever the reason below. Returns code. */
int err_as(struct err *e, int code);

/* Move what src holds into dst (dst may be NULL); src is empty afterwards. */
void err_move(struct err *dst, struct err *src);

void err_clear(struct err *e);
