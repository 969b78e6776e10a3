#!/bin/bash
# Route to stable (production) version
echo "=== Stable Version Request ==="
curl -X POST "https://api.holysheep.ai/v1/chat/completions" \
-H "Authorization: Bearer YOUR_HOLYSHEEP_API_KEY" \
-H "Content-Type: application/json" \
-H "X-Relay-Version: stable" \
-d '{
"model": "claude-sonnet-4.5",
"messages": [{"role": "user", "content": "Hello"}]
}'
# Route to beta (testing) version
echo "=== Beta Version Request ==="
curl -X POST "https://api.holysheep.ai/v1/chat/completions" \
-H "Authorization: Bearer YOUR_HOLYSHEEP_API_KEY" \
-H "Content-Type: application/json" \
-H "X-Relay-Version: beta" \
-d '{
"model": "claude-sonnet-4.5",
"messages": [{"role": "user", "content": "Hello"}]
}'
echo "Dynamic version routing complete!"
