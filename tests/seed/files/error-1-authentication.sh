# Always verify your key format and include the Authorization header
curl -X POST "https://api.holysheep.ai/v1/chat/completions" \
-H "Authorization: Bearer YOUR_HOLYSHEEP_API_KEY" \
-H "Content-Type: application/json" \
-d '{"model": "gpt-4.1", "messages": [{"role": "user", "content": "test"}]}'
# If your key is invalid, generate a new one from:
# https://www.holysheep.ai/dashboard/settings/api-keys
# Never hardcode API keys in source code. Use environment variables instead:
export HOLYSHEEP_API_KEY="your_key_here"
echo $HOLYSHEEP_API_KEY # Verify it is set
