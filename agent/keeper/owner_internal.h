/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file What attribution's own files share. owner.h documents the whole. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/keeper/owner.h"
#include "agent/keeper/owner_parse.h"

#define OWNER_SOCKETS_MAX   16 /* sockets that a packet may belong to */
#define OWNER_HOLDERS_MAX   16 /* processes that hold them */
#define OWNER_HINTS_MAX     256
#define OWNER_NAMES_MAX     256
#define OWNER_CROWDS_MAX    4
#define OWNER_LISTENERS_MAX 64
#define OWNER_CROWD_MAX     256 /* sockets of one process that are remembered */

struct owner_space {
	bool used, host;
	uint32_t members; /* containers in it, */
	uint32_t untold;  /* those of them whose groups are not known, */
	uint32_t unsure;  /* and those whose groups others may be in, too */
	uint32_t named;   /* other endpoints, of which all is that is no container's */
	uint64_t inode;
	int diag;          /* borrowed */
	int32_t pid;       /* for /proc/PID/net; owner_space_pid() */
	int32_t first_pid; /* as it was added: whose password file names the users */
	uint64_t cookie;   /* of the namespace in config.origin; 0: it is not watched there */
};

/** A container that is an endpoint, or a namespace that has been named one. */
struct owner_member {
	struct pr_uuid endpoint;
	uint32_t slot;
	char id[65]; /* the engine's; empty: a named namespace */
	bool named;  /* its groups carry it */
	int32_t pid; /* its first process: whose password file names its users */
	uint64_t start_ticks;
	uint64_t serial; /* never used again */
	char *own;       /* malloc'd, by pr_cgroup_own(); empty: none; NULL: not known */
};

enum owner_group_kind {
	OWNER_GROUP_OUTSIDE,  /* of no container */
	OWNER_GROUP_MEMBER,   /* of the one that is named */
	OWNER_GROUP_STRANGER, /* of another container, or of one only in part */
	OWNER_GROUP_UNSURE,   /* where a container is that has none of its own */
	OWNER_GROUP_UNREAD,
};

/** What a process's control groups say. */
struct owner_group {
	uint64_t generation; /* of the table of members; 0: nothing was looked up */
	enum owner_group_kind kind;
	uint32_t slot; /* MEMBER: where it lives */
	struct pr_uuid endpoint;
};

/** The same for an executable in a group that the kernel's notes name. */
struct owner_program_group {
	uint64_t id;
	struct owner_group group;
};

/** What changes seldom in a process's life: kept with its hint for some seconds. */
struct owner_facts {
	bool known;
	struct owner_group group;
	uint32_t uid; /* whose name it is */
	uint64_t name_until_ns;
	char name[33];
};

/** A process that held a socket a moment ago, pinned by its folder in /proc. */
struct owner_hint {
	bool used;
	uint32_t slot, uid;
	uint64_t socket_inode;
	int socket_fd; /* its number in the process */
	int proc;      /* O_PATH of /proc/PID */
	int32_t pid;
	uint64_t start_ticks;
	uint64_t used_ns;
	uint64_t exe_batch; /* in which exe was read; 0: it is not kept */
	char exe[129];
	bool crowded; /* has so many sockets that looking around the last one is no use */
	struct owner_facts facts;
};

/** All sockets of a process with many, as they were at the last look. */
struct owner_crowd {
	uint32_t slot;
	int32_t pid; /* 0: free */
	uint64_t start_ticks;
	uint64_t read_ns;
	size_t count;
	uint64_t inodes[OWNER_CROWD_MAX];
	int fds[OWNER_CROWD_MAX];
};

/** Who held a listener's socket when they were searched for, and who it was of them. */
struct owner_listener {
	bool used;
	uint32_t slot;
	struct part_flow flow; /* the last one that it took */
	bool alone;            /* no other socket could have taken that */
	uint64_t cookie;       /* of the socket */
	size_t holder_count;
	struct {
		int folder; /* O_PATH of /proc/PID */
		int socket_fd;
		uint64_t executed; /* another number after it executes a program */
	} holders[OWNER_HOLDERS_MAX];
	uint64_t references; /* of the socket's file, when they were found */
	uint64_t found_ns, used_ns;
	uint64_t batch; /* for which the kernel was asked */
	struct part_owner owner;
};

struct owner_process {
	int32_t pid;
	bool kernel;      /* no program: holds nothing */
	bool fresh;       /* not in the table before */
	uint64_t seen_ns; /* first */
	uint64_t net_inode;
};

struct owner_name {
	bool noted; /* its numbers are the kernel's own, by origin.h; else those that stat() gives
	             */
	uint64_t mount_inode, root_device,
		root_inode; /* numbers of namespaces are used again soon */
	uint32_t uid;
	uint64_t until_ns;
	char name[33];
};

struct owner {
	struct owner_config config;
	struct owner_counters counters;
	uint64_t window_ns, window_used_ns; /* the present second's work */
	uint64_t now_ns;                    /* of the present question */
	uint64_t batch;                     /* of owner_begin(); 0: it is never called */
	uint64_t settled_batch;             /* for which origin_settle() was called */
	uint32_t reads_left;                /* of the present question */
	uint32_t sequence;
	bool uid_seen; /* this kernel says whose socket a packet is of */
	uint64_t own_mount_inode;
	int proc; /* O_RDONLY of /proc */
	uint64_t table_ns;
	bool table_full; /* every process's namespace was read again in this question */
	size_t process_count, process_room, old_room;
	struct owner_process *processes, *old_processes; /* sorted by pid */
	struct owner_hint hints[OWNER_HINTS_MAX];
	struct owner_crowd crowds[OWNER_CROWDS_MAX];
	struct owner_name names[OWNER_NAMES_MAX];
	struct owner_listener listeners[OWNER_LISTENERS_MAX];
	struct owner_space spaces[PART_NAMESPACE_MAX];
	char own_container[65]; /* the one that we run in ourselves; empty: none */
	bool notes_tell;        /* the groups that eBPF notes are those that engines make */
	uint64_t generation;    /* of members; from 1 */
	uint64_t serial;
	size_t member_count, member_room;
	struct owner_member *members;
	struct owner_program_group programs[ORIGIN_PROGRAMS];
};

/** A process that holds a socket looked for. */
struct owner_holder {
	int proc;      /* O_PATH of /proc/PID */
	bool borrowed; /* it is the hint's */
	int32_t pid;
	int socket_fd;
	uint64_t socket_inode;
	uint64_t start_ticks;
	char exe[129];
	struct owner_facts facts; /* from a hint */
};

struct owner_find {
	owner_t *owner;
	uint32_t slot;
	uint32_t uid;   /* of the socket; only an order of trying */
	uint64_t inode; /* of the socket looked for now */
	bool single;    /* the only one: no other hint is tried after the one that fits */
	size_t holder_count;
	struct owner_holder holders[OWNER_HOLDERS_MAX];
	bool exhausted; /* more would have to be read than one question may */
	bool by_hint;
};

/* owner_socket.c */
struct owner_sockets {
	size_t count;
	struct owner_socket items[OWNER_SOCKETS_MAX];
	uint8_t proto;
	bool translated; /* the only one wanted to reach somebody else */
	bool gone;       /* the kernel finishes it alone (TIME_WAIT, closed): nobody holds it */
};
/** Sockets that may have sent this flow's first packet. */
void owner_sockets_sending(owner_t *owner, uint32_t slot, const struct part_flow *flow,
                           struct owner_sockets *ret_sockets);
/** The socket that the kernel would give it to. */
void owner_sockets_receiving(owner_t *owner, uint32_t slot, const struct part_flow *flow,
                             struct owner_sockets *ret_sockets);
/** Is this an address of the namespace itself? Reads the address tables of /proc/PID/net. */
bool owner_address_local(owner_t *owner, uint32_t slot, const struct pr_addr *address);
/** Is this very socket still there? */
bool owner_socket_alive(owner_t *owner, uint32_t slot, const struct part_flow *flow,
                        const struct owner_socket *socket);
/** Raw and ping sockets, by /proc/PID/net. */
void owner_sockets_raw(owner_t *owner, uint32_t slot, const struct part_flow *flow, bool sending,
                       struct owner_sockets *ret_sockets);

/* owner_process.c */
/** Add who holds find->inode inside the namespace. They stay open until owner_find_done(). */
void owner_find_run(struct owner_find *find);
/**
 * Give the sockets among the lowest @p most descriptors of a process to @p visit until it says
 * true. True: it did.
 */
typedef bool (*owner_visit_fn)(void *arg, int fd, uint64_t inode);
bool owner_process_sockets(struct owner_find *find, int proc, size_t most, owner_visit_fn visit,
                           void *arg);
/** The same among processes of other namespaces. */
void owner_find_elsewhere(struct owner_find *find);
void owner_find_done(struct owner_find *find);
/** A process in this namespace, for its /proc/PID/net; 0: none. */
int32_t owner_process_of(owner_t *owner, uint64_t net_inode);
/** The same for a slot: the process of last time while it is still inside. */
int32_t owner_space_pid(owner_t *owner, uint32_t slot);
/** Its first process, open as O_PATH, while that is inside; -1: not any more. */
int owner_space_open(owner_t *owner, uint32_t slot);

/* owner_hint.c */
/** Try the processes seen shortly before. True: a holder was added. */
bool owner_hints_try(struct owner_find *find);
/** Remember who it was. Takes @p holder's descriptor. */
void owner_hint_keep(owner_t *owner, uint32_t slot, uint32_t uid, struct owner_holder *holder);
void owner_hints_drop(owner_t *owner, uint32_t slot);

/* owner_crowd.c */
/** The number that the socket looked for had in a process with many; its hint, or NULL. */
struct owner_hint *owner_crowd_find(struct owner_find *find, int *ret_fd);
/** Look at all sockets of the hint's process and remember them. -1: it is not among them. */
int owner_crowd_read(struct owner_find *find, struct owner_hint *hint);

/* owner_proc.c: reads that count */
bool owner_read_allowed(owner_t *owner);
/** The program as it is now. */
bool owner_exe_read(owner_t *owner, int folder, char exe[static 129]);
/** Does this link of a process lead to the socket looked for? */
bool owner_link_match(struct owner_find *find, int folder, const char *name);
int owner_proc_open(owner_t *owner, int32_t pid);
bool owner_proc_read(owner_t *owner, int folder, const char *name, char *text, size_t size_bytes);
bool owner_proc_link(owner_t *owner, int folder, const char *name, const char *kind,
                     uint64_t *ret_inode);
/** Add a process that holds the socket. Takes @p proc; false: it has gone, or there is no room. */
bool owner_holder_add(struct owner_find *find, int proc, int32_t pid, int socket_fd);
/** The same for a process that a hint has pinned: its start time cannot have changed. */
bool owner_holder_add_hinted(struct owner_find *find, struct owner_hint *hint, int socket_fd);

bool owner_start_read(owner_t *owner, int proc, uint64_t *ret_start_ticks);

/* owner_origin.c */
/** Who sent the first packet, by a note of this very flow. False: there is none. */
bool owner_origin_packet(owner_t *owner, uint32_t slot, const struct part_flow *flow,
                         uint32_t uid_hint, struct part_owner *ret_owner);
/** The same for the only socket that can have sent it, however long ago it was noted. */
bool owner_origin_socket(owner_t *owner, uint32_t slot, const struct part_flow *flow,
                         const struct owner_sockets *sockets, struct part_owner *ret_owner);

/* owner_place.c */
/** The container with this endpoint; NULL: none. */
const struct owner_member *owner_member_of(const owner_t *owner, const struct pr_uuid *endpoint);
/** Whose groups are these, as /proc/PID/cgroup has them? */
void owner_group_resolve(owner_t *owner, const char *text, struct owner_group *ret_group);
void owner_group_read(owner_t *owner, int proc, struct owner_group *ret_group);
/** Is the main endpoint one that has what is of no container: the host, a named namespace? */
bool owner_space_named(const owner_t *owner, uint32_t slot);
/** Does somebody live there beside the main endpoint? */
bool owner_space_shared(const owner_t *owner, uint32_t slot);
/** Whose is what nobody can be found for. */
uint8_t owner_place_default(const owner_t *owner, uint32_t slot);
/** Fill place and container. */
void owner_place_set(const owner_t *owner, uint32_t slot, const struct owner_group *group,
                     struct part_owner *ret_owner);
bool owner_place_equal(const struct part_owner *a, const struct part_owner *b);
void owner_members_drop(owner_t *owner, uint32_t slot);

/* owner_listener.c */
/**
 * Who takes this flow, if it is who was found the last time, by the kernel's own tables (origin.h).
 * @param sockets  What is known to take it; NULL: the only one that can is looked for.
 */
bool owner_listener_known(owner_t *owner, uint32_t slot, const struct part_flow *flow,
                          const struct owner_sockets *sockets, struct part_owner *ret_owner);
/** Remember the holders of the only socket that takes it. NULL: they cannot be. */
struct owner_listener *owner_listener_keep(struct owner_find *find, const struct part_flow *flow,
                                           const struct owner_sockets *sockets);
/** Of a slot; UINT32_MAX: all. */
void owner_listeners_drop(owner_t *owner, uint32_t slot);

/* owner_name.c */
/** A name read shortly before under this key. */
bool owner_name_known(const owner_t *owner, const struct owner_name *key, char ret_name[static 33]);
/** Read it as the process sees it, and keep it under this key. */
void owner_name_read(owner_t *owner, int proc, const struct owner_name *key,
                     char ret_name[static 33]);
/** The user's name as the process sees it; empty: none. */
void owner_name_find(owner_t *owner, int proc, uint32_t uid, char ret_name[static 33]);
/**
 * The name of ret_owner->uid where its endpoint's names are kept: a container's are what its first
 * process sees, the host's are its own, whatever the process itself has made of its mounts and user
 * namespace. False: its place does not say whose names hold.
 */
bool owner_name_place(owner_t *owner, uint32_t slot, struct part_owner *ret_owner);
