/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The few fields of the kernel's own structures that origin.bpf.c reads. Where they lie is looked
 * up in the running kernel's BTF when the program is loaded (CO-RE); a field that is not there
 * makes the load fail, and attribution falls back to /proc.
 */

typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;

#define KERNEL __attribute__((preserve_access_index))

struct ns_common {
	unsigned int inum;
} KERNEL;

struct mnt_namespace {
	struct ns_common ns;
} KERNEL;

struct nsproxy {
	struct mnt_namespace *mnt_ns;
} KERNEL;

struct super_block {
	unsigned int s_dev;
} KERNEL;

struct inode {
	unsigned long i_ino;
	struct super_block *i_sb;
} KERNEL;

struct timespec64 {
	long long tv_sec;
	long tv_nsec;
} KERNEL;

/* i_ctime has had three names. */
struct inode___since_6_11 {
	long long i_ctime_sec;
	unsigned int i_ctime_nsec;
} KERNEL;

struct inode___since_6_6 {
	struct timespec64 __i_ctime;
} KERNEL;

struct inode___before_6_6 {
	struct timespec64 i_ctime;
} KERNEL;

struct qstr {
	const unsigned char *name;
} KERNEL;

struct hlist_bl_node {
	struct hlist_bl_node **pprev;
} KERNEL;

struct dentry {
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
} KERNEL;

struct vfsmount {
	struct dentry *mnt_root;
} KERNEL;

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
} KERNEL;

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
} KERNEL;

typedef struct {
	long long counter;
} atomic64_t;

struct file {
	struct path f_path;
	struct inode *f_inode;
	void *private_data;
} KERNEL;

typedef struct {
	atomic64_t refcnt;
} file_ref_t;

struct file___since_6_13 {
	file_ref_t f_ref; /* one less than there are */
} KERNEL;

struct file___before_6_13 {
	atomic64_t f_count;
} KERNEL;

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
} KERNEL;

struct files_struct {
	struct fdtable *fdt;
} KERNEL;

struct hlist_node {
	struct hlist_node *next;
} KERNEL;

struct hlist_head {
	struct hlist_node *first;
} KERNEL;

struct hlist_nulls_node {
	struct hlist_nulls_node *next; /* odd: the end, and the chain's number */
} KERNEL;

struct hlist_nulls_head {
	struct hlist_nulls_node *first;
} KERNEL;

struct pid {
	struct hlist_head tasks[1];
} KERNEL;

struct proc_inode {
	struct pid *pid;
	struct inode vfs_inode;
} KERNEL;

struct mm_struct {
	struct file *exe_file;
} KERNEL;

struct fs_struct {
	struct path root;
} KERNEL;

struct kernfs_node {
	const char *name;
	uint64_t id;
} KERNEL;

/* The parent got another name in 6.15. */
struct kernfs_node___since_6_15 {
	struct kernfs_node *__parent;
} KERNEL;

struct kernfs_node___before_6_15 {
	struct kernfs_node *parent;
} KERNEL;

struct cgroup {
	struct kernfs_node *kn;
} KERNEL;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
} KERNEL;

enum cgroup_subsys_id {
	pids_cgrp_id,
	CGROUP_SUBSYS_COUNT = 64, /* at most; the real index comes from BTF */
};

struct css_set {
	struct cgroup_subsys_state *subsys[CGROUP_SUBSYS_COUNT];
	struct cgroup *dfl_cgrp;
} KERNEL;

struct task_struct {
	int tgid;
	uint64_t start_boottime;
	struct task_struct *group_leader;
	struct mm_struct *mm;
	struct fs_struct *fs;
	struct nsproxy *nsproxy;
	struct css_set *cgroups;
	struct files_struct *files;
	struct hlist_node pid_links[1];
	uint64_t self_exec_id;
} KERNEL;

typedef struct {
	unsigned int val;
} kuid_t;

struct in6_addr {
	uint32_t words[4];
};

struct inet_listen_hashbucket {
	struct hlist_nulls_head nulls_head;
} KERNEL;

struct inet_hashinfo {
	unsigned int lhash2_mask;
	struct inet_listen_hashbucket *lhash2;
} KERNEL;

struct inet_timewait_death_row {
	struct inet_hashinfo *hashinfo;
} KERNEL;

struct udp_hslot {
	struct hlist_head head;
	int count;
} KERNEL;

struct udp_table {
	struct udp_hslot *hash;
	unsigned int mask;
} KERNEL;

struct netns_ipv4 {
	struct inet_timewait_death_row tcp_death_row;
	struct udp_table *udp_table; /* since 6.2 */
} KERNEL;

struct bpf_prog_array;

struct netns_bpf {
	struct bpf_prog_array *run_array[2]; /* the second: sk_lookup */
} KERNEL;

struct net {
	uint64_t net_cookie;
	uint32_t hash_mix;
	struct netns_ipv4 ipv4;
	struct netns_bpf bpf;
} KERNEL;

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	unsigned char skc_state;
	unsigned char skc_ipv6only : 1;
	int skc_bound_dev_if;
	possible_net_t skc_net;
	struct hlist_node skc_node;
	struct hlist_nulls_node skc_nulls_node;
	atomic64_t skc_cookie;
	uint32_t skc_daddr, skc_rcv_saddr;
	uint16_t skc_dport; /* network order */
	uint16_t skc_num;   /* the local port */
	unsigned short skc_family;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
} KERNEL;

struct sock;

struct socket {
	struct file *file;
	struct sock *sk;
} KERNEL;

struct sock {
	struct sock_common __sk_common;
	struct socket *sk_socket;
	kuid_t sk_uid;
} KERNEL;

struct inet_sock {
	struct sock sk;
	uint16_t inet_sport; /* network order; it stays when skc_num is given back */
} KERNEL;

struct inet_connection_sock {
	struct inet_sock icsk_inet;
} KERNEL;

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	uint32_t write_seq;
} KERNEL;
