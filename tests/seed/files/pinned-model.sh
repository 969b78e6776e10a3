#!/bin/bash
# Pin to specific model version for stability
curl -X POST "https://api.holysheep.ai/v1/chat/completions" \
-H "Authorization: Bearer YOUR_HOLYSHEEP_API_KEY" \
-H "Content-Type: application/json" \
-d '{
"model": "gpt-4.1",
"messages": [
{
"role": "user",
"content": "Explain version control in one sentence."
}
],
"temperature": 0.7,
"max_tokens": 150
}'
echo "Response received from pinned model version!"
