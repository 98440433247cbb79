/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "swupd/base/text.h"
#include "swupd/content/digest.h"

struct anchors;
struct err;
struct fetch;
struct progress;
struct trust;
struct ui;
struct update_head;

/* The global options, as the command line and the configuration files fill them (swupd(8)); zero or NULL: not given. */
struct client_options {
	const char *path; /* root of the managed system; default "/" */
	const char *url, *contenturl, *versionurl;
	uint32_t port;
	const char *format; /* number or "staging" */
	const char *statedir, *cachedir, *datadir;
	const char *certpath;
	const char *boot; /* the boot partition, below path; NULL: it is looked for (bootfiles.h) */
	uint32_t max_parallel_downloads, max_retries, retry_delay;
	uint32_t tries, keep_roots, roots_free; /* of a release for the next boot; old roots; percent */
	bool nosigcheck, nosigcheck_latest, ignore_time, time, no_scripts, no_boot_update, json_output;
	bool yes, allow_insecure_http, quiet, verbose, debug, no_progress, wait_for_scripts, help, version;
	const char *assume;
};

/*
 * The machine that is managed: its directories, what it was told about its server, and what a run shares. Opened by main for a command
 * according to its needs.
 */
struct machine {
	const struct client_options *opts;
	const char *command; /* its name; NULL in tests */
	struct ui *ui;
	struct progress *progress; /* NULL: nobody looks */
	char *path;                /* of root, canonical, for messages */
	int root;                  /* directory fd */
	int data;  /* <root>/var/lib/swupd (or -Z, -S): bundles/ version seen trust/ swupd_lock; -1 when not needed */
	int cache; /* /var/lib/swupd of the host (or -K, -S): mom/ manifest/ download/; -1 when not needed */
	int lock;  /* fd that holds the lock, -1: not taken */
	char *content_url, *version_url; /* without trailing slash; NULL: not known */
	/* of what the user's mirrors are copies; NULL: those above are no mirrors */
	char *content_origin, *version_origin;
	char *format_text;          /* "30", "staging" */
	uint32_t format;            /* 0 for "staging" */
	uint32_t release;           /* installed, from os-release; 0: unknown or none */
	int64_t now;                /* seconds since 1970, taken once */
	struct anchors *anchors;    /* of the installed certificate; NULL until trust_load, and with --nosigcheck */
	struct trust *trust;        /* NULL until trust_load; trust.h */
	struct fetch *fetch;        /* NULL until the first request */
	struct update_head *update; /* NULL: no update file is used */
	bool no_fullfiles;          /* so the server's list of ways tells, by one from nothing */
	uint32_t no_whole;          /* for this release the server has no way from nothing: it is asked once */
	char *whole_fault;          /* what is wrong with the one that it has; NULL: nothing that is known */
	bool rehearsal;             /* data and cache are copies in memory (NEEDS_REHEARSAL) */
	bool offline;               /* no server answers; what is needed has been downloaded before */
};

/* What a command needs of the machine (struct command.needs). */
enum {
	NEEDS_ROOT_USER = 1 << 0, /* effective uid 0 */
	NEEDS_STATE = 1 << 1,     /* data and cache directories, made when missing */
	NEEDS_LOCK = 1 << 2,      /* and the lock; an interrupted run is completed first (install_recover) */
	NEEDS_SERVER = 1 << 3,    /* URLs and format must be known */
	NEEDS_TRUST = 1 << 4,     /* certificate loaded, clock sane */
	NEEDS_NEW_ROOT = 1 << 5,  /* the root may be missing or empty: os-install */
	/*
	 * In the place of NEEDS_STATE and NEEDS_LOCK: data and cache are copies in memory, which are gone with the machine. Whatever is done to them changes nothing.
	 * -ERR_RELEASE when an interrupted run would have to be completed first.
	 */
	NEEDS_REHEARSAL = 1 << 6,
};

/*
 * Open the machine for a command. -ERR_NOT_ROOT, -ERR_LOCKED, -ERR_CONFIG (URL, format, state directory not acceptable), -ERR_CLOCK,
 * -ERR_SIGNATURE/-ERR_EXPIRED (certificate).
 */
int machine_open(const struct client_options *opts, unsigned needs, struct ui *ui, struct machine **out, struct err *e);
void machine_close(struct machine *m);

/* For a command that finds out what more it needs when it runs. */
int machine_need(struct machine *m, unsigned needs, struct err *e);

/* The release named by an os-release text; 0 when it names none. */
uint32_t os_release_version(const char *text);
/* The value of a key of an os-release text, without quotes, the last one counts; NULL: it has none. The caller frees it. */
char *os_release_value(const char *text, const char *key);
int machine_read_release(struct machine *m, struct err *e); /* sets m->release */

/* The first line of usr/share/defaults/swupd/format below the root; NULL: none. The caller frees it. */
char *machine_installed_format(const struct machine *m);

/* Names of the installed bundles (files in INSTALLED_BUNDLES), sorted; "os-core" when there is none. */
int machine_bundles(const struct machine *m, struct strv *out, struct err *e);

/* Open a file or folder of the data directory; a command that changes nothing has not opened that itself. An fd, or < 0 when it is not there. */
int machine_open_data(const struct machine *m, const char *name, int flags);

/* Bundles that were asked for by name ("tracked", <data>/bundles), sorted. */
int machine_tracked(const struct machine *m, struct strv *out, struct err *e);
