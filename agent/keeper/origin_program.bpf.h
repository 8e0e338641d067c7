/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Part of origin.bpf.c: the executable and the control group of a process, noted once each.
 */

struct key {
	uint64_t inode, changed_ns, mount, group_id[ORIGIN_GROUPS];
	uint32_t device;
};

/* Typed pointers are followed by plain loads; a helper's call for each would take longer than the
 * rest. */
static __always_inline uint64_t inode_changed_ns(struct inode *inode)
{
	struct inode___since_6_11 *now = (void *)inode;
	struct inode___since_6_6 *middle = (void *)inode;
	struct inode___before_6_6 *before = (void *)inode;

	if (bpf_core_field_exists(now->i_ctime_sec)) {
		return (uint64_t)now->i_ctime_sec * 1000000000ULL + now->i_ctime_nsec;
	}
	if (bpf_core_field_exists(middle->__i_ctime)) {
		return (uint64_t)middle->__i_ctime.tv_sec * 1000000000ULL +
		       (uint64_t)middle->__i_ctime.tv_nsec;
	}
	return (uint64_t)before->i_ctime.tv_sec * 1000000000ULL + (uint64_t)before->i_ctime.tv_nsec;
}

/* With the old hierarchies any controller's group says it; engines use all of them. */
static __always_inline struct kernfs_node *group_of(struct task_struct *task, int which)
{
	struct css_set *set = task->cgroups;

	if (which != 0) {
		return set->dfl_cgrp->kn;
	}
	if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id)) {
		return 0;
	}
	struct cgroup_subsys_state *state =
		*(struct cgroup_subsys_state **)((void *)&set->subsys +
	                                         bpf_core_enum_value(enum cgroup_subsys_id,
	                                                             pids_cgrp_id) *
	                                                 sizeof(state));
	return state != 0 ? state->cgroup->kn : 0;
}

static __always_inline bool key_read(struct task_struct *task, struct key *key)
{
	struct mm_struct *mm = task->mm;
	struct file *file = mm != 0 ? mm->exe_file : 0;

	if (file == 0) {
		return false; /* a thread of the kernel */
	}
	struct inode *inode = file->f_inode;
	key->inode = inode->i_ino;
	key->device = inode->i_sb->s_dev;
	key->changed_ns = inode_changed_ns(inode);
	/* Only a number here, which a typed pointer may not become. */
	bpf_core_read(&key->mount, sizeof(key->mount), &file->f_path.mnt);
	for (int i = 0; i < ORIGIN_GROUPS; i++) {
		struct kernfs_node *group = group_of(task, i);
		key->group_id[i] = group != 0 ? group->id : 0;
	}
	return true;
}

static __always_inline bool key_is(const struct origin_program *program, const struct key *key)
{
	return program->inode == key->inode && program->device == key->device &&
	       program->changed_ns == key->changed_ns && program->mount == key->mount &&
	       program->group_id[0] == key->group_id[0] && program->group_id[1] == key->group_id[1];
}

static __always_inline bool is_root(struct dentry *dentry)
{
	return dentry == BPF_CORE_READ(dentry, d_parent);
}

/*
 * Of the present process. As d_path() goes: from the file upwards, over mount points, to the top of
 * its mount tree. Not static: verified once, not at each call.
 */
__noinline int origin_path_write(uint32_t program_at)
{
	struct origin_program *program = &programs[program_at % ORIGIN_PROGRAMS];
	struct file *file = BPF_CORE_READ(bpf_get_current_task_btf(), mm, exe_file);
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	struct vfsmount *seen = BPF_CORE_READ(file, f_path.mnt);
	struct mount *mount = (void *)seen - bpf_core_field_offset(struct mount, mnt);
	uint32_t at = 0;

	program->deleted = BPF_CORE_READ(dentry, d_hash.pprev) == 0 && !is_root(dentry);
	program->partial = 1;
	for (int depth = 0; depth < ORIGIN_PATH_DEPTH; depth++) {
		if (dentry == BPF_CORE_READ(mount, mnt.mnt_root) || is_root(dentry)) {
			struct mount *parent = BPF_CORE_READ(mount, mnt_parent);
			if (parent == mount || parent == 0) {
				program->partial = 0;
				break;
			}
			dentry = BPF_CORE_READ(mount, mnt_mountpoint);
			mount = parent;
			continue;
		}
		if (at >= ORIGIN_PATH_BYTES) {
			break;
		}
		long got = bpf_probe_read_kernel_str(&program->path[at & (ORIGIN_PATH_BYTES - 1)],
		                                     ORIGIN_NAME_BYTES,
		                                     BPF_CORE_READ(dentry, d_name.name));
		if (got <= 1) {
			break;
		}
		at += got;
		dentry = BPF_CORE_READ(dentry, d_parent);
	}
	program->path_bytes = at;
	return 0;
}

static __always_inline struct kernfs_node *group_parent(struct kernfs_node *node)
{
	struct kernfs_node___since_6_15 *now = (void *)node;
	struct kernfs_node___before_6_15 *before = (void *)node;

	if (bpf_core_field_exists(now->__parent)) {
		return BPF_CORE_READ(now, __parent);
	}
	return BPF_CORE_READ(before, parent);
}

__noinline int origin_group_write(uint32_t program_at, uint32_t which)
{
	struct origin_program *program = &programs[program_at % ORIGIN_PROGRAMS];
	struct kernfs_node *node = group_of(bpf_get_current_task_btf(), (int)which);
	uint32_t at = 0;
	uint8_t partial = 1;

	for (int depth = 0; depth < ORIGIN_GROUP_DEPTH && node != 0; depth++) {
		if (at >= ORIGIN_GROUP_BYTES) {
			break;
		}
		char *to =
			&program->group[which & (ORIGIN_GROUPS - 1)][at & (ORIGIN_GROUP_BYTES - 1)];
		long got =
			bpf_probe_read_kernel_str(to, ORIGIN_NAME_BYTES, BPF_CORE_READ(node, name));
		if (got <= 1) {
			partial = 0; /* the top has no name */
			break;
		}
		at += got;
		node = group_parent(node);
	}
	program->group_partial[which & (ORIGIN_GROUPS - 1)] = partial;
	program->group_bytes[which & (ORIGIN_GROUPS - 1)] = at;
	return 0;
}

static __always_inline struct origin_program *program_claim(uint64_t hash, uint32_t *ret_at)
{
	uint32_t chosen = hash % ORIGIN_PROGRAMS;
	uint64_t oldest = ~0ULL;

	for (int i = 0; i < ORIGIN_PROGRAM_WAYS; i++) {
		uint32_t at = (hash + i) % ORIGIN_PROGRAMS;
		if (programs[at].time_ns < oldest) {
			oldest = programs[at].time_ns;
			chosen = at;
		}
	}
	struct origin_program *program = &programs[chosen % ORIGIN_PROGRAMS];
	uint32_t sequence = program->sequence;
	if ((sequence & 1) != 0 ||
	    __sync_val_compare_and_swap(&program->sequence, sequence, sequence + 1) != sequence) {
		return 0;
	}
	*ret_at = chosen;
	return program;
}

/* The place of the task's executable; it is written if it has none. False: it has no place now. */
static __always_inline bool program_find(struct task_struct *task, struct origin_entry *to)
{
	struct key key = {};

	if (!key_read(task, &key)) {
		return false;
	}
	uint64_t hash = mix(mix(mix(key.inode, key.mount), key.group_id[0]), key.group_id[1]);
	for (int i = 0; i < ORIGIN_PROGRAM_WAYS; i++) {
		uint32_t at = (hash + i) % ORIGIN_PROGRAMS;
		struct origin_program *program = &programs[at];
		uint32_t sequence = *(volatile uint32_t *)&program->sequence;
		uint64_t id = *(volatile uint64_t *)&program->id;
		if ((sequence & 1) == 0 && id != 0 && key_is(program, &key) &&
		    *(volatile uint32_t *)&program->sequence == sequence) {
			to->program_at = at;
			to->program_id = id;
			return true;
		}
	}
	struct origin_program *program = program_claim(hash, &to->program_at);
	if (program == 0) {
		return false;
	}
	program->id = __sync_fetch_and_add(&counts.programs, 1) + 1;
	program->inode = key.inode;
	program->device = key.device;
	program->changed_ns = key.changed_ns;
	program->mount = key.mount;
	program->time_ns = bpf_ktime_get_ns();
	(void)origin_path_write(to->program_at);
	for (int i = 0; i < ORIGIN_GROUPS; i++) {
		program->group_id[i] = key.group_id[i];
		(void)origin_group_write(to->program_at, i);
	}
	to->program_id = program->id;
	__sync_fetch_and_add(&program->sequence, 1);
	return true;
}
