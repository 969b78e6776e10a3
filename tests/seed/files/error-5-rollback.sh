# List all available versions and their status
curl -X GET "https://api.holysheep.ai/v1/admin/versions/list" \
-H "Authorization: Bearer YOUR_HOLYSHEEP_API_KEY"
# Use the exact name returned (may include prefix like "prod-" or "v1-")
# If "stable" does not exist, check for "prod-stable" or "v1-stable"
# Alternative: Rollback to last known good configuration by ID
curl -X POST "https://api.holysheep.ai/v1/admin/rollback" \
-H "Authorization: Bearer YOUR_HOLYSHEEP_API_KEY" \
-H "Content-Type: application/json" \
-d '{"target_type": "config_id", "config_id": "config-abc123"}'
