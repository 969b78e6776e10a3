# Verify available versions first
curl -X GET "https://api.holysheep.ai/v1/admin/versions" \
-H "Authorization: Bearer YOUR_HOLYSHEEP_API_KEY"
# Ensure you use the exact header name (case-sensitive)
# Correct: X-Relay-Version
# Incorrect: X-Relay-version or relay-version
# If you defined "v2-beta" but it does not exist, create it first
curl -X POST "https://api.holysheep.ai/v1/admin/versions" \
-H "Authorization: Bearer YOUR_HOLYSHEEP_API_KEY" \
-H "Content-Type: application/json" \
-d '{"name": "v2-beta", "base_version": "stable", "config_overrides": {}}'
