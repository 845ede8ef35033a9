"""Where evaluations run: meshes of devices, several processes, executors."""
